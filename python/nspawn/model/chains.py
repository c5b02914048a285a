"""From our chains as they are to our chains as they shall be: the text for `iptables-restore --noflush`.

In the built-in chains are jumps only, the first of their rules.  Where they can, they name the interface, so
that the machine's other traffic costs one comparison.  What is not ours is never touched.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nspawn.model.firewall import Tables

PREFIX = "NSPAWN-"
#: In which order they are written: the guard of the loopback comes before what needs it.
TABLES = ("raw", "filter", "mangle", "nat")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@-+")


class Seen(NamedTuple):
    """What is of ours in one table.

    chains: how many rules each has.  jumps: by built-in chain, the position (from 1) and text of each rule
    that is nothing but a jump to ours, of all traffic or of an interface's.  held: chains to which other
    rules of others lead, too.
    """

    chains: Mapping[str, int] = {}
    jumps: Mapping[str, tuple[tuple[int, str], ...]] = {}
    held: frozenset[str] = frozenset()


if TYPE_CHECKING:
    Observed = Mapping[str, Seen]

NOTHING = Seen()


def jump(chain: str, way: str = "", interface: str = "") -> str:
    """The text of a jump.  way: "-i" or "-o" of the interface, "" of all; "" for what we never write."""
    if not way:
        return f"-j {chain}"
    return f"{way} {interface} -j {chain}" if interface and _NAME.issuperset(interface) else ""


def script(wanted: Tables, observed: Observed, applied: str = "") -> tuple[str, str]:
    """(text, digest): what makes it as wanted, "" when it is; and what stands for the rules.

    applied: the digest of the last time.  Rules that are there are told by their number only, so a table is
    written anew when its digest is another one.
    """
    before = dict(part.partition("=")[::2] for part in applied.split())
    after = {table: _digest(chains) for table, chains in wanted.items() if chains}
    parts = []
    for table in TABLES:
        chains = wanted.get(table, {})
        seen = observed.get(table, NOTHING)
        if before.get(table) != after.get(table) or not _is_whole(chains, seen):
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


def _is_whole(chains: Mapping[str, tuple[str, ...]], seen: Seen) -> bool:
    counts, jumps = {}, {}
    for chain, rules in chains.items():
        if chain.startswith(PREFIX):
            counts[chain] = len(rules)
        else:
            jumps[chain] = tuple(enumerate(rules, 1))
    return seen.chains == counts and seen.jumps == jumps


def _table(table: str, chains: Mapping[str, tuple[str, ...]], seen: Seen) -> list[str]:
    """The lines for one table; none when nothing is there and nothing shall be."""
    ours = {chain: rules for chain, rules in chains.items() if chain.startswith(PREFIX)}
    jumps = {chain: rules for chain, rules in chains.items() if chain not in ours}
    lines = [f":{chain} - [0:0]" for chain in ours]  # makes it, or empties it
    moved = [
        builtin
        for builtin in dict.fromkeys((*seen.jumps, *jumps))
        if seen.jumps.get(builtin, ()) != tuple(enumerate(jumps.get(builtin, ()), 1))
    ]
    lines += [f"-D {builtin} {rule}" for builtin in moved for _, rule in seen.jumps.get(builtin, ())]
    lines += [
        f"-I {builtin} {place} {rule}"
        for builtin in moved
        for place, rule in enumerate(jumps.get(builtin, ()), 1)
    ]
    old = [chain for chain in seen.chains if chain not in ours]
    lines += [f"-F {chain}" for chain in old]
    lines += [f"-X {chain}" for chain in old if chain not in seen.held]
    lines += [f"-A {chain} {rule}" for chain, rules in ours.items() for rule in rules]
    return [f"*{table}", *lines, "COMMIT"] if lines else []


def parse_save(text: str) -> dict[str, Seen]:
    """What is of ours in the text of iptables-save."""
    found: dict[str, Seen] = {}
    chains: dict[str, int] = {}
    jumps: dict[str, tuple[tuple[int, str], ...]] = {}
    held: set[str] = set()
    positions: dict[str, int] = {}
    table = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("*"):
            table, chains, jumps, held, positions = line[1:].strip(), {}, {}, set(), {}
        elif line.startswith(f":{PREFIX}"):
            chains[words[0][1:]] = 0
        elif line.startswith("COMMIT") and (chains or jumps) and table in TABLES:
            found[table] = Seen(chains, jumps, frozenset(held))
        elif words[:1] == ["-A"]:
            chain = words[1]
            positions[chain] = positions.get(chain, 0) + 1
            if chain in chains:
                chains[chain] += 1
            elif chain.isupper() and (rule := _plain_jump(words[2:])) and words[-1] in chains:
                jumps[chain] = (*jumps.get(chain, ()), (positions[chain], rule))
            else:
                held |= chains.keys() & set(words)
    return found


def _plain_jump(words: list[str]) -> str:
    """The rule, when it is nothing but a jump, of all traffic or of an interface's."""
    if len(words) == 2 and words[0] == "-j":
        return jump(words[1])
    if len(words) == 4 and words[0] in ("-i", "-o") and words[2] == "-j":
        return jump(words[3], words[0], words[1])
    return ""
