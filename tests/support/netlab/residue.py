"""Everything of a machine's network that a program could leave changed, as text."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.netlab.spaces import Space

_COMMANDS = (
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip -o addr",
    "ip neigh show proxy",
    "ip -6 neigh show proxy",
)
_TABLES = ("filter", "nat", "mangle", "raw")
_SYSCTLS = ("ipv4/conf", "ipv6/conf", "ipv4/ip_forward", "ipv4/ping_group_range")


class Residue:
    """One look.  Two that are equal were made of equal machines."""

    def __init__(self, space: Space, backends: Sequence[str] = ("legacy",), *, nat6: bool = True) -> None:
        """backends: of iptables, "legacy" and "nft"; nat6: whether to look at, and so make, that table."""
        # A bridge without ports is down, or not, by whether it ever had one.
        self.parts = {
            command: space.check(*command.split()).replace(" linkdown", "") for command in _COMMANDS
        }
        for backend in backends:
            for family in ("iptables", "ip6tables"):
                tables = (
                    _TABLES if nat6 or family == "iptables" else [each for each in _TABLES if each != "nat"]
                )
                self.parts[f"{family}-{backend}"] = _saved(space, f"{family}-{backend}", tables)
        with space.inside():
            self.parts["sysctls"] = "\n".join(_settings())

    def changed(self, other: Residue) -> list[str]:
        """What is different there: the lines, with - and +."""
        found = []
        for name, text in self.parts.items():
            ours, theirs = text.splitlines(), other.parts[name].splitlines()
            if ours != theirs:
                found += [f"{name}: - {line}" for line in ours if line not in theirs]
                found += [f"{name}: + {line}" for line in theirs if line not in ours]
                found.append(f"{name} is not the same")
        return found


def _saved(space: Space, program: str, names: Sequence[str]) -> str:
    """Without packets counted, and dates.  A look makes the tables, which nobody can take away again."""
    for table in names:
        space.check(program, "-t", table, "-S")
    lines = space.check(f"{program}-save").splitlines()
    tables: list[str] = []
    for line in lines:
        if line.startswith("*"):
            tables.append("")
        if tables and not line.startswith("#"):
            tables[-1] += re.sub(r"\[\d+:\d+\]$", "", line) + "\n"
    return "".join(sorted(tables))


def _settings() -> list[str]:
    found = []
    for name in _SYSCTLS:
        for path in _files(Path("/proc/sys/net", name)):
            try:
                found.append(f"{path}: {path.read_text().strip()}")
            except OSError:
                continue
    return found


def _files(top: Path) -> list[Path]:
    """Interfaces may go while we look."""
    if top.is_file():
        return [top]
    return sorted(Path(folder, name) for folder, _, names in os.walk(top) for name in names)
