"""One variant of iptables: its tools, what is asked of it, and what others have put there before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from nspawn.kernel import xtables
from nspawn.kernel.xtables import Done
from nspawn.model.netplan import FirewallInput, Local, Mark, Published
from tests.support.veths import BRIDGE, DATABASE, GATEWAY, PHONE, SUBNET, WEB, sh

BASE = FirewallInput((BRIDGE,), SUBNET[4], SUBNET[6], GATEWAY[4], GATEWAY[6], ipv6="nat", page=8080)
WANTED = BASE._replace(
    marks=(Mark(3, "wlan0", "wlan0"),),
    locals=(Local(4, PHONE[4], "wlan0"), Local(6, PHONE[6], "wlan0")),
    published=(
        Published("8000:80/tcp", WEB[4], WEB[6]),
        Published("8080:80/tcp", WEB[4], WEB[6]),
        Published("5000-5003:6000/udp", WEB[4], WEB[6]),
        Published("7000-7100:7000/tcp", WEB[4], WEB[6]),
        Published(f"{PHONE[4]}:9000:80/tcp", WEB[4], WEB[6]),
        Published("53:53/udp", DATABASE[4], DATABASE[6]),
    ),
)
FOREIGN = """\
*filter
:fw_FORWARD - [0:0]
-A FORWARD -j fw_FORWARD
-A fw_FORWARD -p tcp -m tcp --dport 25 -j DROP
-A INPUT -i lo -j ACCEPT
COMMIT
*nat
:oem_nat_pre - [0:0]
-A PREROUTING -j oem_nat_pre
-A POSTROUTING -o tun9 -j MASQUERADE
COMMIT
*mangle
-A PREROUTING -i tun9 -j MARK --set-xmark 0x1/0x1
COMMIT
*raw
-A PREROUTING -i tun9 -j ACCEPT
COMMIT
"""


class Firewall:
    """One variant of iptables: its tools by family."""

    def __init__(self, variant: str, folder: Path) -> None:
        self.variant = variant
        self.lock = folder / "xtables.lock"
        for name in ("iptables", "ip6tables"):
            for end in ("", "-restore", "-save"):
                (folder / f"{name}{end}").symlink_to(f"/usr/sbin/{name}-{variant}{end}")
        self.environ = {"PATH": f"{folder}:/usr/sbin:/usr/bin", "XTABLES_LOCKFILE": str(self.lock)}
        self.tools = {family: xtables.find(self.environ, family) for family in (4, 6)}
        self.folder = folder

    def program(self, family: int, end: str = "") -> str:
        return f"{self.folder}/{'iptables' if family == 4 else 'ip6tables'}{end}"

    def save(self, family: int) -> str:
        """Without comments, and without the counters of built-in chains, which traffic moves."""
        text = sh(self.program(family, "-save"))
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return "\n".join(re.sub(r"\[\d+:\d+\]", "", line) for line in lines)

    def restore(self, family: int, text: str) -> None:
        command = [self.program(family, "-restore"), "--noflush"]
        subprocess.run(command, input=text, text=True, check=True, timeout=20)

    def reconcile(self, wanted: FirewallInput, applied: str = "", family: int = 4) -> Done:
        tool = self.tools[family]
        return xtables.reconcile(tool, wanted, xtables.features(tool), applied)


def rules_of(text: str) -> set[str]:
    return {line for line in text.splitlines() if "NSPAWN" in line}
