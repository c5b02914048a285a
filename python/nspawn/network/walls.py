"""The firewall of both families, brought to what the plan says."""

from __future__ import annotations

import threading

from nspawn.errors import Unsupported
from nspawn.kernel import xtables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.kernel.xtables import Tool
    from nspawn.model import firewall
    from nspawn.model.netplan import FirewallInput

_COMMANDS = {4: "iptables-restore", 6: "ip6tables-restore"}


class Walls:
    """applied: the digest of what was last applied, for IPv4 and IPv6; without one it is filled anew.

    Raises Unsupported when there is no iptables; without ip6tables there is only less.
    """

    def __init__(self, environ: Mapping[str, str], applied: tuple[str, str] = ("", "")) -> None:
        self.applied = {4: applied[0], 6: applied[1]}
        self.tools: dict[int, Tool] = {4: xtables.find(environ, 4)}
        try:
            self.tools[6] = xtables.find(environ, 6)
        except Unsupported:
            pass
        self.features: dict[int, firewall.Features] = {
            family: xtables.features(tool) for family, tool in self.tools.items()
        }

    @property
    def nat6(self) -> bool:
        return 6 in self.features and self.features[6].nat

    @property
    def connmark(self) -> bool:
        return self.features[4].connmark

    def script(self, wanted: FirewallInput) -> list[str]:
        """What apply() would do, as lines that a person can paste."""
        from nspawn.model import firewall

        found = []
        for family, tool in self.tools.items():
            observed, features = xtables.observe(tool), self.features[family]
            text, _ = firewall.script(family, wanted, features, observed, self.applied[family])
            found += _shown(family, text)
        return found

    def apply(self, wanted: FirewallInput) -> list[str]:
        """Make it so; the lines of what was done, none when all was well."""

        def work(family: int) -> str:
            tool, features = self.tools[family], self.features[family]
            done = xtables.reconcile(tool, wanted, features, self.applied[family])
            self.applied[family] = done.digest
            return done.text

        return self._both(work)

    def remove(self) -> list[str]:
        """All of ours goes."""
        return self._both(lambda family: xtables.remove(self.tools[family]))

    def _both(self, work: Callable[[int], str]) -> list[str]:
        """Each family's process beside the other's; the first error of the two, when both are over."""
        texts: dict[int, str] = {}
        errors: list[Exception] = []

        def run(family: int) -> None:
            try:
                texts[family] = work(family)
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)

        second = threading.Thread(target=run, args=(6,)) if 6 in self.tools else None
        if second is not None:
            second.start()
        run(4)
        if second is not None:
            second.join()
        if errors:
            raise errors[0]
        return [line for family, text in sorted(texts.items()) for line in _shown(family, text)]


def _shown(family: int, text: str) -> list[str]:
    if not text:
        return []
    return [f"{_COMMANDS[family]} --noflush -w <<'END'", *text.rstrip("\n").split("\n"), "END"]
