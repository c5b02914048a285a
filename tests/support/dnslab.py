"""Network namespaces for the forwarder: a host with containers, and two uplinks with a real server each.

    c0, c1, c2 -- (bridge) host --+-- wlan0 --- wifi     dnsmasq at 192.0.2.53
                                  +-- rmnet0 -- mobile   dnsmasq at 198.51.100.53, 2001:db8:5::53

The address of `uplink.example` tells which server has answered.
tests/support/activator.py plays the spawner.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nspawn.kernel.slotfiles import SlotFiles
from nspawn.layout import Layout
from nspawn.model.record import Record
from nspawn.model.slot import Slot, Subnet
from tests.support.command import Result, check, run
from tests.support.machine import MARK
from tests.support.processes import wait_until
from tests.support.program import REPOSITORY

GATEWAY, GATEWAY6 = "10.11.0.1", "fd11::1"
WIFI, MOBILE, MOBILE6 = "192.0.2.53", "198.51.100.53", "2001:db8:5::53"
WIFI_SAYS, MOBILE_SAYS = "203.0.113.1", "203.0.113.2"
#: An address in the WiFi's network that nobody has.
NOBODY = "192.0.2.99"
#: TXT records: of more than 4096 bytes, and of more than 1232 and less than that.
BIG, MEDIUM = "big.example", "medium.example"
#: Forty addresses: more than an answer by plain UDP has room for.
MANY = "many.example"
_BASE = 0x0A0B0000
CONTAINERS = 3


class DnsLab:
    """folder: of the test.  The forwarder runs in the host's namespace from the first question on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = f"dl{os.getpid() % 100000}"
        self.subnet = Subnet(_BASE, 24, 0xFD11 << 112)
        self._spaces: list[str] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self._activators: list[subprocess.Popen[bytes]] = []

    def begin(self, folder: Path) -> None:
        """For each test: nothing is known yet, and nobody listens.  folder: of this test."""
        self.layout = Layout(str(folder / "state"))
        self.phone = folder / "phone"
        (self.phone / "etc").mkdir(parents=True)
        self.log = folder / "activator.log"
        self.errors = folder / "errors"
        self.environment = {
            "PATH": os.environ["PATH"],
            "NSPAWN_ROOT": self.layout.root,
            "NSPAWN_PHONE": str(self.phone),
            "NSPAWN_DNS_IDLE": "20",
            MARK: self.layout.root,
        }
        with SlotFiles(self.layout) as files:
            files.remember(self.subnet)

    def end(self) -> None:
        """The forwarder and who starts it."""
        if self.log.exists() and self.pid:
            os.kill(self.pid, signal.SIGKILL)
        _kill(self._activators)

    # Building

    def space(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def inside(self, name: str, *words: str | Path, timeout: float = 30.0) -> Result:
        return run(["ip", "netns", "exec", self.space(name), *words], timeout=timeout)

    def ip(self, name: str, text: str) -> None:
        check(["ip", "-n", self.space(name), *text.split()])

    def build(self) -> None:
        for name in ("host", "wifi", "mobile", *(f"c{n}" for n in range(CONTAINERS))):
            check(["ip", "netns", "add", self.space(name)])
            self._spaces.append(self.space(name))
            self.ip(name, "link set lo up")
        self.ip("host", "link add br0 address 02:00:0a:0b:00:01 type bridge")
        self.ip("host", f"addr add {GATEWAY}/24 dev br0")
        self.ip("host", f"addr add {GATEWAY6}/64 dev br0 nodad")
        self.ip("host", "link set br0 up")
        for number in range(CONTAINERS):
            self.start_container(number)
        for name, link, net in (("wifi", "wlan0", "192.0.2"), ("mobile", "rmnet0", "198.51.100")):
            self.ip("host", f"link add {link} type veth peer name eth0 netns {self.space(name)}")
            self.ip("host", f"addr add {net}.1/24 dev {link}")
            self.ip("host", f"link set {link} up")
            self.ip(name, f"addr add {net}.53/24 dev eth0")
            self.ip(name, "link set eth0 up")
        self.ip("host", "addr add 2001:db8:5::1/64 dev rmnet0 nodad")
        self.ip("mobile", f"addr add {MOBILE6}/64 dev eth0 nodad")
        self.serve("wifi", WIFI_SAYS)
        self.serve("mobile", MOBILE_SAYS)

    def start_container(self, number: int) -> None:
        link = f"nsp{number}"
        self.ip("host", f"link add {link} type veth peer name eth0 netns {self.space(f'c{number}')}")
        self.ip("host", f"link set {link} master br0 up")
        self.ip(f"c{number}", f"addr add 10.11.0.{2 + number}/24 dev eth0")
        self.ip(f"c{number}", f"addr add fd11::{2 + number:x}/64 dev eth0 nodad")
        self.ip(f"c{number}", "link set eth0 up")

    def stop_container(self, number: int) -> None:
        self.ip("host", f"link del nsp{number}")

    def serve(self, name: str, says: str) -> None:
        """A real server, which knows a few names."""
        strings = [f"{n:03}{'x' * 200}" for n in range(22)]
        words = [
            *("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"),
            *("--cache-size=0", "--local-ttl=60", "--log-queries", "--bind-interfaces", "--pid-file="),
            *(f"--address=/uplink.example/{says}", "--address=/six.example/2001:db8::7", "--local=/example/"),
            *("--address=/two.example/203.0.113.8", f"--txt-record={BIG},{','.join(strings)}"),
            f"--txt-record={MEDIUM},{','.join(strings[:10])}",
            *(f"--host-record={MANY},198.18.0.{n}" for n in range(40)),
            "--ptr-record=8.113.0.203.in-addr.arpa,two.example",
        ]
        with open(self.folder / f"{name}.log", "wb") as log:
            words = [*self._exec(name), *words]
            self._servers.append(subprocess.Popen(words, start_new_session=True, stdout=log, stderr=log))
        probe = ["dig", "+short", "+tries=1", "+time=1", f"@{WIFI if name == 'wifi' else MOBILE}"]
        assert wait_until(lambda: self.inside(name, *probe, "uplink.example").out.strip() == says, 10), (
            self.folder / f"{name}.log"
        ).read_text()

    def asked(self, name: str) -> int:
        """How many questions this server has had."""
        return (self.folder / f"{name}.log").read_text().count(" query[")

    def _exec(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self.space(name)]

    def activate(self, *addresses: str) -> None:
        """Listen; the forwarder itself starts later."""
        words = [sys.executable, str(REPOSITORY / "tests/support/activator.py")]
        words += [str(REPOSITORY / "python/entry/dns.py"), str(self.log), *(addresses or (GATEWAY, GATEWAY6))]
        with open(self.errors, "ab") as errors:
            words = [*self._exec("host"), *words]
            self._activators.append(
                subprocess.Popen(words, start_new_session=True, env=self.environment, stderr=errors)
            )
        assert wait_until(lambda: self.log.exists() and "ready" in self.log.read_text(), 10), self.said

    def close(self) -> None:
        _kill(self._servers)
        for space in self._spaces:
            run(["ip", "netns", "del", space])

    # What the machine says

    def resolv_conf(self, *servers: str) -> None:
        fresh = self.phone / "etc/resolv.conf.new"
        fresh.write_text("".join(f"nameserver {server}\n" for server in servers))
        fresh.rename(self.phone / "etc/resolv.conf")

    def slot(self, number: int, name: str, **more: object) -> None:
        """A container that has this name and this number."""
        owner = str(more.pop("owner", f"name:{name}"))
        with SlotFiles(self.layout) as files:
            files.write(Slot(number, owner, host=name, **more))  # type: ignore[arg-type]

    def state(self, *lines: tuple[str, str]) -> None:
        """What the agent says that it has made."""
        Path(self.layout.run).mkdir(exist_ok=True)
        place = Path(self.layout.network_state)
        fresh = place.with_suffix(".new")
        fresh.write_bytes(Record((("mode", "bridge"), *self.subnet.fields(), *lines)).encode())
        fresh.rename(place)

    def android(self) -> None:
        """From the forwarder's start on, this is a phone."""
        self.environment |= {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"}

    def dumpsys(self, text: str) -> None:
        place = self.phone / "system/bin"
        place.mkdir(parents=True, exist_ok=True)
        (self.phone / "dump").write_text(text)
        program = place / "dumpsys"
        script = f'echo x >>{self.phone}/dumps; [ "$*" = connectivity ] && exec /bin/cat {self.phone}/dump'
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    @property
    def dumps(self) -> int:
        """How often dumpsys was run."""
        place = self.phone / "dumps"
        return len(place.read_text().splitlines()) if place.exists() else 0

    # Asking

    def dig(self, number: int, *words: str, server: str = GATEWAY, timeout: float = 40.0) -> Result:
        """From a container; once, and with patience."""
        return self.inside(f"c{number}", "dig", f"@{server}", "+tries=1", "+time=15", *words, timeout=timeout)

    def short(self, number: int, *words: str, server: str = GATEWAY) -> list[str]:
        return self.dig(number, "+short", *words, server=server).lines

    def status(self, number: int, *words: str, server: str = GATEWAY) -> str:
        """The rcode as dig names it; "" when there was no answer."""
        for line in self.dig(number, *words, server=server).lines:
            if "status: " in line:
                return line.partition("status: ")[2].partition(",")[0]
        return ""

    @property
    def pid(self) -> int:
        """Of the forwarder; 0 when it does not run."""
        lines = self.log.read_text().splitlines()
        return int(lines[-1].split()[1]) if lines[-1].startswith("started") else 0

    def ended(self, times: int) -> bool:
        """Whether the forwarder has left so many times, in order, or does so soon."""
        return wait_until(lambda: self.log.read_text().count("ended 0") == times, 10)

    @property
    def said(self) -> str:
        """Everything that could explain a failure."""
        files = [self.log, self.errors, *self.folder.glob("*.log")]
        return "\n".join(f"{file}:\n{file.read_text()}" for file in files if file.exists())


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)
    processes.clear()


@contextmanager
def dns_lab(folder: Path) -> Iterator[DnsLab]:
    with ExitStack() as stack:
        lab = DnsLab(folder)
        stack.callback(lab.close)
        lab.build()
        yield lab
