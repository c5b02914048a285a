"""A machine's network for one test: a namespace with uplinks, in which the network's agent runs."""

from __future__ import annotations

import re
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nspawn.kernel.slotfiles import SlotFiles, name_owner
from nspawn.layout import Layout
from nspawn.model.record import Record
from nspawn.model.slot import Slot, Subnet
from tests.support.command import Result, check, run
from tests.support.machine import MARK
from tests.support.program import PATH, REPOSITORY

AGENT = REPOSITORY / "python/entry/network.py"
#: Counts, and what the kernel makes up by itself.
_RESTLESS = re.compile(r"nf_conntrack_count|/random|stable_secret|tcp_fastopen_key|/fib_multipath_hash_seed")
_CARRIER = re.compile(r"(fe80:|ff00::/8).* dev nspawn_br1|nspawn_br1.* fe80:")
SUBNET = Subnet(0x0A0B0000, 24, 0xFD11 << 112)


class Machine:
    """A network namespace, held by a process.

    root: NSPAWN_ROOT of the agent in it; environment: the agent's.
    """

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self.layout = Layout(str(root))
        self.pid = pid
        self.environment = {"PATH": PATH, "LANG": "C.UTF-8", "NSPAWN_ROOT": str(root), MARK: str(root)}
        self.veths: list[int] = []

    @property
    def enter(self) -> list[str]:
        return ["/usr/bin/nsenter", "-t", str(self.pid), "-n"]

    def __call__(self, *words: str, timeout: float = 20.0) -> list[str]:
        """Run a command in it; its lines."""
        return check([*self.enter, *words], timeout=timeout).lines

    def ip(self, line: str) -> list[str]:
        return [" ".join(each.split()) for each in self("ip", *line.split())]

    def agent_words(self, *words: str, prefix: Sequence[str] = ()) -> list[str]:
        python = str(REPOSITORY / ".venv/bin/python")
        return [*self.enter, *prefix, python, "-I", "-S", "-E", str(AGENT), *words]

    def agent(self, *words: str, environment: Mapping[str, str] | None = None) -> Result:
        """One run of it."""
        return run(self.agent_words(*words), environment={**self.environment, **(environment or {})})

    def outcome(self, *words: str, environment: Mapping[str, str] | None = None) -> Record:
        """Of a run that goes well."""
        result = self.agent(*words, environment=environment)
        assert result.status == 0, str(result)
        return Record.decode(result.stdout)

    def up(self, *flags: str) -> Record:
        return self.outcome("up", *flags)

    def down(self, *flags: str) -> Record:
        return self.outcome("down", *flags)

    def refused(self, *words: str, environment: Mapping[str, str] | None = None) -> Record:
        """The error of a run that goes wrong."""
        result = self.agent(*words, environment=environment)
        assert result.status != 0, str(result)
        record = Record.decode(result.stdout)
        assert record.get("error"), str(result)
        return record

    def uplink(self, name: str, address: str, gateway: str = "", metric: int = 0) -> None:
        """An interface with an address of a /24, and a default route.  Its other end is in here too."""
        far = f"far-{name}"[:15]
        self("ip", "link", "add", name, "type", "veth", "peer", "name", far)
        for end in (name, far):
            # Its own address would come some time after its carrier.
            self("ip", "link", "set", end, "addrgenmode", "none", "up")
        self("ip", "addr", "add", f"{address}/24", "dev", name)
        if gateway:
            self.ip(f"route add default via {gateway} dev {name} metric {metric}")

    def slot(self, name: str, **settings: object) -> int:
        """A container as the start leaves it: the slot's file, and a veth whose other end is lost in here."""
        with SlotFiles(self.layout) as files:
            wish = Slot(-1, name_owner(name), host=name, **settings)  # type: ignore[arg-type]
            number = files.take(wish, files.subnet() or SUBNET).number
        self.veth(number)
        return number

    def veth(self, number: int) -> None:
        self.ip(f"link add nsp{number} type veth peer name far{number}")
        self.ip(f"link set nsp{number} addrgenmode none")
        self.ip(f"link set far{number} addrgenmode none up")
        self.veths.append(number)

    def leave(self) -> None:
        """All containers are gone."""
        for number in self.veths:
            run([*self.enter, "ip", "link", "del", f"nsp{number}"])
        self.veths.clear()

    def rules(self, family: int = 4) -> list[str]:
        return self.ip(f"-{family} rule")

    def state(self) -> dict[str, list[str]]:
        """All of it, as other tools tell it."""
        found = {
            words: self(*words.split())
            for words in (
                "ip rule",
                "ip -6 rule",
                "ip route show table all",
                "ip -6 route show table all",
                "ip -6 neigh show proxy",
                "ip -o addr",
            )
        }
        # A bridge has, or lacks, its carrier and what comes with it some time after its port came or went.
        found = {
            key: [line.replace(" linkdown", "") for line in lines if not _CARRIER.search(line)]
            for key, lines in found.items()
        }
        found["links"] = [
            re.sub(r"state \S+|qdisc \S+|NO-CARRIER,|,LOWER_UP", "", line)
            for line in self("ip", "-o", "link")
        ]
        for save in ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"):
            lines = run([*self.enter, save]).lines
            found[save] = [re.sub(r"\[\d+:\d+\]", "", line) for line in lines if not line.startswith("#")]
        values = run([*self.enter, "grep", "-rs", ".", "/proc/sys/net"]).lines
        found["sysctl"] = sorted(line for line in values if not _RESTLESS.search(line))
        return found

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """What the kernel tells of changes while the block lasts, one line each."""
        found: list[str] = []
        with subprocess.Popen(
            [*self.enter, "ip", "-o", "monitor", "link", "address", "route", "rule", "netconf"],
            stdout=subprocess.PIPE,
        ) as monitor:
            assert monitor.stdout is not None
            try:
                while not select.select([monitor.stdout], [], [], 0.05)[0]:
                    self("ip", "link", "set", "lo", "mtu", "65534")
                    self("ip", "link", "set", "lo", "mtu", "65535")
                self("ip", "link", "set", "lo", "mtu", "65533")
                _read_to(monitor.stdout, b"mtu 65533")
                yield found
                self("ip", "link", "set", "lo", "mtu", "65536")
                found += _read_to(monitor.stdout, b"mtu 65536")
            finally:
                monitor.kill()


def _read_to(stream: IO[bytes], word: bytes) -> list[str]:
    """The lines before the one with the word."""
    found = []
    while word not in (line := stream.readline()):
        assert line, "the monitor ended"
        found.append(line.decode().strip())
    return found


def difference(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[str]:
    """What is told differently."""
    found = []
    for key in before:
        found += [f"{key}: -{line}" for line in before[key] if line not in after[key]]
        found += [f"{key}: +{line}" for line in after[key] if line not in before[key]]
        if before[key] != after[key] and not found:
            found.append(f"{key}: another order")
    return found


@contextmanager
def machine(root: Path) -> Iterator[Machine]:
    """One with `lo` up and nothing else."""
    with subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "ip link set lo up; echo ready; exec sleep 1000"],
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"ready\n"
            yield Machine(root, holder.pid)
        finally:
            holder.kill()


@contextmanager
def plain_host(root: Path) -> Iterator[Machine]:
    """With two uplinks: the default one is eth0."""
    with machine(root) as found:
        found.uplink("eth0", "192.168.1.2", "192.168.1.1", 100)
        found.uplink("wlan0", "192.168.2.2", "192.168.2.1", 600)
        yield found
