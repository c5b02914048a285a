"""iptables: which one this machine has, what is of ours in it, and one process for a change.

Looking costs no process: the kernel is asked as the tools ask it.  A text for iptables-restore is one
transaction a table; what is not in it stays as it is (--noflush).
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from nspawn.errors import Busy, NspawnError, Unsupported
from nspawn.kernel import command, iptlegacy, iptnft
from nspawn.layout import on_android, phone
from nspawn.model import chains, firewall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nspawn.model.chains import Seen
    from nspawn.model.firewall import Features
    from nspawn.model.netplan import FirewallInput

#: How long to wait for the lock that all programs which change the tables share.
LOCK_SECONDS = 5
_NAMES = {4: "iptables-restore", 6: "ip6tables-restore"}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_WHAT = "the firewall was not changed"


class Tool(NamedTuple):
    """path: of iptables-restore or ip6tables-restore; nft: whether it fills nf_tables."""

    family: int
    path: str
    nft: bool
    environ: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        return [self.path, "--noflush", "-w", str(LOCK_SECONDS)]


class Done(NamedTuple):
    """What was run, "" for nothing; and what stands for the rules, for the next time."""

    text: str
    digest: str


def find(environ: Mapping[str, str], family: int) -> Tool:
    """The machine's iptables-restore of this family; Unsupported without one."""
    name = _NAMES[family]
    if on_android(environ):
        found = phone(environ, f"/system/bin/{name}")
        places = [found] if os.access(found, os.X_OK) else []
    else:
        folders = f"{environ.get('PATH', '')}:{_SBIN}".split(":")
        places = [path for folder in folders if folder and os.access(path := f"{folder}/{name}", os.X_OK)][:1]
    if not places:
        raise Unsupported(
            f"this machine has no {name}",
            "containers with a network need it",
            "" if on_android(environ) else "Install the package iptables.",
        )
    program = os.path.basename(os.path.realpath(places[0]))
    nft = "nft" in program
    if not nft and "legacy" not in program and not on_android(environ):
        nft = "nf_tables" in _run([places[0], "--version"], environ)[1]
    return Tool(family, places[0], nft, environ)


def features(tool: Tool) -> Features:
    """What the kernel has for this tool.  Modules are loaded and tables made, as the tool does it."""
    try:
        if tool.nft:
            there = _nft_tables(tool.family)
        else:
            if not iptlegacy.is_loaded(tool.family):
                _run(tool.command, tool.environ, "*filter\nCOMMIT\n")  # which loads it
            there = {name for name in chains.TABLES if iptlegacy.has_table(tool.family, name)}
    except OSError:  # without IPv6, or without any of it
        there = set()
    if "filter" not in there:
        return firewall.Features(*[False] * 7)
    has = iptnft.has_extension if tool.nft else iptlegacy.has_extension
    return firewall.Features(
        filter=True,
        nat="nat" in there,
        mangle="mangle" in there,
        raw="raw" in there,
        conntrack=has(tool.family, "conntrack", target=False),
        connmark=has(tool.family, "CONNMARK", target=True),
        tcpmss=has(tool.family, "TCPMSS", target=True),
    )


def _nft_tables(family: int) -> set[str]:
    """The tables that can be filled; a try in the kernel takes milliseconds, so only when one is missing."""
    there = iptnft.in_use(family) & set(chains.TABLES)
    if len(there) < len(chains.TABLES):
        usable = iptnft.usable_hooks(family)
        needs = {"filter": ("filter",), "raw": ("filter",), "mangle": ("filter", "route"), "nat": ("nat",)}
        there |= {name for name, kinds in needs.items() if all(usable[kind] for kind in kinds)}
    return set(there)


def observe(tool: Tool) -> dict[str, Seen]:
    """What is of ours, by table."""
    try:
        return iptnft.observe(tool.family) if tool.nft else iptlegacy.observe(tool.family)
    except OSError:
        save = [tool.path.removesuffix("-restore") + "-save"]
        status, text = _run(save, tool.environ)
        if status:
            raise NspawnError(
                "the firewall cannot be read", text.strip()[-300:], f"To see it: {save[0]}"
            ) from None
        return chains.parse_save(text)


def reconcile(tool: Tool, wanted: FirewallInput, has: Features, applied: str) -> Done:
    """Make our chains as wanted; nothing runs when they are.  applied: the digest of the last time, or "".

    Another program may change the tables after we looked: then once more.
    """
    rules = firewall.tables(tool.family, wanted, has)
    text, digest = chains.script(rules, observe(tool), applied)
    return Done(_settle(tool, text, lambda: chains.script(rules, observe(tool))[0]), digest)


def in_use(tool: Tool) -> frozenset[str]:
    """The tables that are there, for remove()."""
    try:
        return iptnft.in_use(tool.family) if tool.nft else iptlegacy.in_use(tool.family)
    except OSError:
        return frozenset()


def remove(tool: Tool, before: Collection[str] = chains.TABLES) -> str:
    """Take away our jumps and chains, whatever is left of them, and nothing else: what was run.

    before: the tables that were there before us.  Of nf_tables the others go too, if they are empty; of the
    legacy ones the kernel keeps what was once made.
    """
    text = _settle(tool, chains.teardown(observe(tool)), lambda: chains.teardown(observe(tool)))
    ours = sorted(set(chains.TABLES) - set(before))
    if ours and tool.nft:
        iptnft.drop_empty(tool.family, ours)
    return text


def _settle(tool: Tool, text: str, again: Callable[[], str]) -> str:
    """Run the text; when it does not fit the tables any more, run what fits them now."""
    try:
        apply(tool, text)
    except Busy:
        raise
    except NspawnError:
        newer = again()
        if newer == text:
            raise
        apply(tool, newer)
        return newer
    return text


def apply(tool: Tool, text: str) -> None:
    """One process, for a text that is not empty.

    Raises Busy when another program keeps the lock, Unsupported when the tool does not start, and else
    NspawnError with the line that was refused.
    """
    if not text:
        return
    try:
        status, said = _run(tool.command, tool.environ, text)
    except OSError as error:
        raise Unsupported(_WHAT, f"{tool.path}: {os.strerror(error.errno or errno.ENOENT)}") from error
    if status:
        raise _refusal(tool, text, status, said)


def _refusal(tool: Tool, text: str, status: int, said: str) -> NspawnError:
    if "xtables lock" in said:
        return Busy(
            _WHAT,
            f"another program has held the lock of iptables for {LOCK_SECONDS} s",
            "Try again in a moment. To see who it is: fuser -v /run/xtables.lock",
        )
    lines = text.splitlines()
    number = _line_number(said)
    kept = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Try `")]
    why = " ".join(kept)[:300] or f"exit status {status}"
    if not 0 < number <= len(lines):
        return NspawnError(_WHAT, why)
    line = lines[number - 1]
    if not line.startswith("-"):
        return NspawnError(_WHAT, f"{why} ({line})", "The kernel's log may tell more: dmesg | tail")
    table = next(each[1:] for each in reversed(lines[:number]) if each.startswith("*"))
    program = os.path.basename(tool.path).removesuffix("-restore")
    return NspawnError(_WHAT, f"{why} ({line})", f"To see it again: {program} -w -t {table} {line}")


def _line_number(said: str) -> int:
    """`line 3 failed`, `line 3: RULE_APPEND failed`, `Error occurred at line: 3`, by version of the tool."""
    for words in (said.partition(mark)[2] for mark in ("at line:", "line ")):
        digits = words.strip().partition(" ")[0].partition("\n")[0].rstrip(":")
        if digits.isdecimal():
            return int(digits)
    return 0


def _run(words: list[str], environ: Mapping[str, str], text: str = "") -> tuple[int, str]:
    """As command.run, in the language in which we read what it says."""
    return command.run(words, {**environ, "LC_ALL": "C"}, text)
