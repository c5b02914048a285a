"""From our chains as they are to our chains as they shall be: the text for `iptables-restore --noflush`.

In the built-in chains are jumps only, each at position 1.  What is not ours is never touched.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.firewall import Tables

PREFIX = "NSPAWN-"
#: Of each table, in which order they are written: the guard of the loopback comes before what needs it.
JUMPS = {
    "raw": {"PREROUTING": "NSPAWN-GUARD"},
    "filter": {"INPUT": "NSPAWN-INPUT", "FORWARD": "NSPAWN-FORWARD"},
    "mangle": {"PREROUTING": "NSPAWN-REPLY", "FORWARD": "NSPAWN-TRANSIT"},
    "nat": {"PREROUTING": "NSPAWN-PRE", "OUTPUT": "NSPAWN-OUT", "POSTROUTING": "NSPAWN-POST"},
}


class Seen(NamedTuple):
    """What is of ours in one table.

    chains: how many rules each has.  jumps: by built-in chain and ours, the positions (from 1) of rules that
    are nothing but this jump.  held: chains to which other rules of others lead, too.
    """

    chains: Mapping[str, int] = {}
    jumps: Mapping[tuple[str, str], tuple[int, ...]] = {}
    held: frozenset[str] = frozenset()


if TYPE_CHECKING:
    Observed = Mapping[str, Seen]

NOTHING = Seen()


def script(wanted: Tables, observed: Observed, applied: str = "") -> tuple[str, str]:
    """(text, digest): what makes it as wanted, "" when it is; and what stands for the rules.

    applied: the digest of the last time.  Rules that are there are told by their number only, so a table is
    written anew when its digest is another one.
    """
    before = dict(part.partition("=")[::2] for part in applied.split())
    after = {table: _digest(chains) for table, chains in wanted.items() if chains}
    parts = []
    for table in JUMPS:
        chains = wanted.get(table, {})
        seen = observed.get(table, NOTHING)
        if before.get(table) != after.get(table) or not _is_whole(table, chains, seen):
            parts += _table(table, chains, seen)
    return "".join(f"{line}\n" for line in parts), " ".join(
        f"{table}={value}" for table, value in after.items()
    )


def teardown(observed: Observed) -> str:
    """What removes exactly our jumps and chains, however many of them are there."""
    return script({}, observed)[0]


def _digest(chains: Mapping[str, tuple[str, ...]]) -> str:
    text = "\n".join(f"{chain} {rule}" for chain, rules in chains.items() for rule in rules).encode()
    return f"{zlib.crc32(text):08x}{zlib.adler32(text):08x}"


def _wanted_jumps(
    table: str, chains: Mapping[str, tuple[str, ...]]
) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(builtin, chain): (1,) for builtin, chain in JUMPS[table].items() if chain in chains}


def _is_whole(table: str, chains: Mapping[str, tuple[str, ...]], seen: Seen) -> bool:
    return seen.chains == {
        chain: len(rules) for chain, rules in chains.items()
    } and seen.jumps == _wanted_jumps(table, chains)


def _table(table: str, chains: Mapping[str, tuple[str, ...]], seen: Seen) -> list[str]:
    """The lines for one table; none when nothing is there and nothing shall be."""
    lines = [f":{chain} - [0:0]" for chain in chains]  # makes it, or empties it
    jumps = _wanted_jumps(table, chains)
    for (builtin, chain), positions in seen.jumps.items():
        if jumps.get((builtin, chain)) != positions:
            lines += [f"-D {builtin} -j {chain}"] * len(positions)
    lines += [
        f"-I {builtin} 1 -j {chain}" for builtin, chain in jumps if seen.jumps.get((builtin, chain)) != (1,)
    ]
    old = [chain for chain in seen.chains if chain not in chains]
    lines += [f"-F {chain}" for chain in old]
    lines += [f"-X {chain}" for chain in old if chain not in seen.held]
    lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    return [f"*{table}", *lines, "COMMIT"] if lines else []


def parse_save(text: str) -> dict[str, Seen]:
    """What is of ours in the text of iptables-save."""
    found: dict[str, Seen] = {}
    chains: dict[str, int] = {}
    jumps: dict[tuple[str, str], tuple[int, ...]] = {}
    held: set[str] = set()
    positions: dict[str, int] = {}
    table = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("*"):
            table, chains, jumps, held, positions = line[1:].strip(), {}, {}, set(), {}
        elif line.startswith(f":{PREFIX}"):
            chains[words[0][1:]] = 0
        elif line.startswith("COMMIT") and (chains or jumps) and table in JUMPS:
            found[table] = Seen(chains, jumps, frozenset(held))
        elif words[:1] == ["-A"]:
            chain = words[1]
            positions[chain] = positions.get(chain, 0) + 1
            to = words[words.index("-j") + 1] if "-j" in words[:-1] else ""
            if chain in chains:
                chains[chain] += 1
            elif to in chains and len(words) == 4 and chain.isupper():
                jumps[chain, to] = (*jumps.get((chain, to), ()), positions[chain])
            else:
                held |= chains.keys() & set(words)
    return found
