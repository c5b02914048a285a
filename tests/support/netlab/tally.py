"""Counting packets where they arrive, by the kernel's own counters: none is missed, and none is guessed."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.netlab.spaces import Space

_PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}


class Tally:
    """Counts what comes to a port of TCP or UDP, in some namespaces, by both families."""

    def __init__(self, spaces: Iterable[Space], port: int) -> None:
        self._spaces = {space.title: space for space in spaces}
        self._rules = [f"-A PREROUTING -p {proto} -m {proto} --dport {port}" for proto in ("tcp", "udp")]
        self._change("-A ")

    def close(self) -> None:
        self._change("-D ")

    def __call__(self, title: str, *families: int) -> int:
        """How many arrived there until now, by both families or by these."""
        found = 0
        for program in (_PROGRAMS[family] for family in families or _PROGRAMS):
            for line in self._spaces[title].check(f"{program}-save", "-c", "-t", "raw").splitlines():
                counters, _, rule = line.partition("] ")
                if rule in self._rules:
                    found += int(counters[1:].partition(":")[0])
        return found

    def _change(self, how: str) -> None:
        script = "*raw\n" + "".join(f"{rule.replace('-A ', how, 1)}\n" for rule in self._rules) + "COMMIT\n"
        for space in self._spaces.values():
            for program in _PROGRAMS.values():
                space.check(f"{program}-restore", "--noflush", "-w", stdin=script)
