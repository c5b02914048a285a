"""The files of a fake phone that the network layer reads and runs, besides those of FakePhone."""

from __future__ import annotations

from pathlib import Path

from tests.support.fakephone import FakePhone

_NDC = """\
#!/bin/sh
# A fake of ndc: netd counts who wants forwarding; when nobody does, it is off.
PATH=/usr/bin:/bin
folder={root}/netd/forwarding
case "$1 $2" in
"ipfwd enable") : >"$folder/$3" ;;
"ipfwd disable") /bin/rm -f "$folder/$3" ;;
*) echo "500 0 Command not recognized"; exit 1 ;;
esac
set -- "$folder"/*
if [ -e "$1" ]; then value=1; else value=0; fi
echo $value >/proc/sys/net/ipv4/ip_forward
echo $value >/proc/sys/net/ipv6/conf/all/forwarding
echo "200 0 ipfwd operation succeeded"
"""
_DUMPSYS = """\
#!/bin/sh
# A fake of dumpsys.
[ "$1" != connectivity ] || exec /bin/cat {root}/netd/connectivity
"""
#: Android's iptables are the legacy ones, and so is their lock.
_IPTABLES = """\
#!/bin/sh
echo "{name} $*" >>{root}/netd/commands
export XTABLES_LOCKFILE={root}/xtables.lock
exec /usr/sbin/{real} "$@"
"""


class PhoneRoot(FakePhone):
    """lock: of its iptables."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "netd").mkdir()
        self.lock = root / "xtables.lock"
        self._program("ndc", _NDC.format(root=root))
        self._program("dumpsys", _DUMPSYS.format(root=root))
        for family in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                name = family + suffix
                self._program(name, _IPTABLES.format(name=name, root=root, real=f"{family}-legacy{suffix}"))

    def commands(self) -> list[str]:
        """What was run of iptables until now, a line each."""
        path = self.root / "netd/commands"
        return path.read_text().splitlines() if path.exists() else []

    def _program(self, name: str, text: str) -> None:
        path = self.root / "system/bin" / name
        path.write_text(text)
        path.chmod(0o755)
