"""The firewall of both families, brought to what the plan says."""

from __future__ import annotations

import threading

from nspawn.errors import Unsupported
from nspawn.kernel import xtables
from nspawn.model import chains, firewall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nspawn.kernel.xtables import Tool
    from nspawn.model.firewall import Features
    from nspawn.model.netplan import FirewallInput, Note

EVERY_TABLE = frozenset(chains.TABLES)
_COMMANDS = {4: "iptables-restore", 6: "ip6tables-restore"}


class Walls:
    """applied: the digest of what was last applied, for IPv4 and IPv6; without one it is filled anew.

    tables: by family, those that there were before; asked first, since a look may make one.
    Raises Unsupported when there is no iptables; without ip6tables there is only less.
    """

    def __init__(self, environ: Mapping[str, str], applied: tuple[str, str] = ("", "")) -> None:
        self.applied = {4: applied[0], 6: applied[1]}
        self.tools: dict[int, Tool] = {4: xtables.find(environ, 4)}
        try:
            self.tools[6] = xtables.find(environ, 6)
        except Unsupported:
            pass
        self.tables = {family: xtables.in_use(tool) for family, tool in self.tools.items()}
        self._features: dict[int, Features] = {}

    def features(self, family: int) -> Features:
        """What the kernel has of this family; nothing when the tool is missing."""
        if family not in self._features:
            tool = self.tools.get(family)
            none = firewall.Features(*[False] * len(firewall.Features._fields))
            self._features[family] = none if tool is None else xtables.features(tool)
        return self._features[family]

    def notes(self) -> list[Note]:
        """What this machine's firewall lacks, for people."""
        return [note for family in self.tools for note in firewall.notes(family, self.features(family))]

    def script(self, wanted: FirewallInput) -> list[str]:
        """What apply() would do, each as a text that a person can paste."""
        found = []
        for family, tool in self.tools.items():
            rules = firewall.tables(family, wanted, self.features(family))
            found += _shown(family, chains.script(rules, xtables.observe(tool), self.applied[family])[0])
        return found

    def teardown(self) -> list[str]:
        """What remove() would do."""
        found = []
        for family, tool in self.tools.items():
            found += _shown(family, chains.teardown(xtables.observe(tool)))
        return found

    def apply(self, wanted: FirewallInput) -> list[str]:
        """Make it so; the texts of what was done, none when all was well."""

        def work(family: int) -> str:
            tool, applied = self.tools[family], self.applied[family]
            done = xtables.reconcile(tool, wanted, self.features(family), applied)
            self.applied[family] = done.digest
            return done.text

        return self._both(work)

    def remove(self, before: Mapping[int, frozenset[str]]) -> list[str]:
        """All of ours goes.  before: the tables that there were before us, by family."""
        return self._both(lambda family: xtables.remove(self.tools[family], before.get(family, EVERY_TABLE)))

    def _both(self, work: Callable[[int], str]) -> list[str]:
        """Each family's process; the first error of the two, when both are over.

        Beside each other with nf_tables; the legacy tools share one lock, and those before 1.8.8 look for it
        once a second.
        """
        texts: dict[int, str] = {}
        errors: list[Exception] = []

        def run(family: int) -> None:
            try:
                texts[family] = work(family)
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)

        second = threading.Thread(target=run, args=(6,)) if 6 in self.tools else None
        together = all(tool.nft for tool in self.tools.values())
        if second is not None and together:
            second.start()
        run(4)
        if second is not None and together:
            second.join()
        elif second is not None:
            run(6)
        if errors:
            raise errors[0]
        return [shown for family, text in sorted(texts.items()) for shown in _shown(family, text)]


def _shown(family: int, text: str) -> list[str]:
    return [f"{_COMMANDS[family]} --noflush -w <<'END'\n{text.rstrip()}\nEND"] if text else []
