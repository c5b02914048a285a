"""The program under test on a lab's machine: as a person would run it there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pexpect

from tests.support import rootfs
from tests.support.command import Result
from tests.support.daemon import Daemon
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.echo import PORT, Echo
from tests.support.netlab.lab import Lab, eventually, inside_of
from tests.support.netlab.poornet import PoorNet
from tests.support.netlab.probe import Answer, Question, ask, ask_all
from tests.support.netlab.topology import WORLD4, WORLD6
from tests.support.program import Box, Program, Words

FOREVER = "exec sleep 100000"


class LabProgram(Program):
    """`nspawn`, whose process is in the namespace of the lab's machine."""

    def __init__(self, lab: Lab, root: Path, poor: PoorNet | None = None) -> None:
        super().__init__(root)
        self.space = lab.phone
        self._poor = poor
        if isinstance(lab, PhoneLab):
            self.environment |= lab.root.environment
        else:
            self.environment["XTABLES_LOCKFILE"] = str(lab.folder / "lab.lock")

    @property
    def enter(self) -> list[str]:
        return self._poor.command if self._poor else []

    def __call__(
        self,
        *arguments: str | Path,
        prefix: Words = (),
        environment: Mapping[str, str | None] | None = None,
        stdin: bytes = b"",
        timeout: float = 20.0,
        directory: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> Result:
        with self.space.inside():
            return super().__call__(
                *arguments,
                prefix=prefix,
                environment=environment,
                stdin=stdin,
                timeout=timeout,
                directory=directory,
                descriptors=descriptors,
            )

    @contextmanager
    def terminal(
        self,
        *arguments: str | Path,
        size: tuple[int, int] = (24, 80),
        environment: Mapping[str, str | None] | None = None,
    ) -> Iterator[pexpect.spawn[str]]:
        with ExitStack() as stack:
            with self.space.inside():
                child = stack.enter_context(super().terminal(*arguments, size=size, environment=environment))
            yield child

    @contextmanager
    def box(
        self,
        rootfs: Path,
        *options: str | Path,
        prefix: Words = (),
        environment: Mapping[str, str | None] | None = None,
        start: str = ":",
    ) -> Iterator[Box]:
        with ExitStack() as stack:
            with self.space.inside():
                made = super().box(
                    rootfs, *options, prefix=[*self.enter, *prefix], environment=environment, start=start
                )
                found = stack.enter_context(made)
            yield found


class LabDaemon(Daemon):
    """Named containers of a LabProgram."""

    def __init__(self, nspawn: LabProgram) -> None:
        super().__init__(nspawn)
        self._program = nspawn

    def serve(self, *options: str, prefix: Sequence[str | Path] = ()) -> None:
        with self._program.space.inside():
            super().serve(*options, prefix=[*self._program.enter, *prefix])

    def end(self) -> None:
        """At once: containers of a Network have no time to stop in."""
        if self.keeper and not self.orphans:
            self.nspawn("shutdown")
        super().end()


class Container:
    """A running container with a network of its own; an echo service in it says its name.

    address4, address6: of eth0, as `ip` in it tells them; "" for none.
    """

    def __init__(self, lab: Lab, name: str, pid: int, port: int = PORT) -> None:
        self.name = name
        self.pid = pid
        with ExitStack() as stack:
            self.space = stack.enter_context(inside_of(pid))
            self.address4, self.address6 = (self._address(family) for family in ("inet", "inet6"))
            stack.callback(Echo(lab.loop, self.space, name, port).close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Before it stops: a namespace lives as long as anybody has a handle on it."""
        self._stack.close()

    def ask(self, host: str, port: int = PORT, proto: str = "tcp", *, seconds: float = 2.0) -> Answer:
        return ask(self.space, host, port, proto, seconds=seconds)

    def ways(self, seconds: float = 2.0) -> set[str]:
        """By which uplinks it gets out, by both families and protocols; "" where it does not."""
        questions = [
            Question(self.space, world, proto=proto) for world in (WORLD4, WORLD6) for proto in ("tcp", "udp")
        ]
        return {answer.tag for answer in ask_all(questions, seconds)}

    def goes_by(self, uplink: str) -> None:
        """Soon, and then all of it; "" for nowhere."""
        eventually(lambda: self.ways(0.5), {uplink})

    def _address(self, family: str) -> str:
        links = json.loads(self.space.check("ip", "-j", "addr", "show", "dev", "eth0"))
        return next(
            (
                each["local"]
                for each in links[0]["addr_info"]
                if each["family"] == family and each["scope"] == "global"
            ),
            "",
        )


class Network:
    """Named containers on a lab's machine.

    lacking: what its kernel has not, see poornet.
    """

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        base: Path,
        *,
        lacking: Sequence[str] = (),
        config: str = "",
        backend: str = "",
    ) -> None:
        """base: a busybox rootfs, of which each container gets a copy; config: the table [network].

        backend: of a plain host's iptables, "legacy" or "nft"; the machine's own by default.
        """
        self.lab = lab
        self.folder = folder
        self.base = base
        self.containers: dict[str, Container] = {}
        with ExitStack() as stack:
            poor = PoorNet(lab.loop, lab.phone, lacking) if lacking else None
            if poor:
                stack.callback(poor.close)
            self.nspawn = LabProgram(lab, folder / "state", poor)
            if backend:
                self.nspawn.environment["PATH"] = (
                    f"{_links(folder, backend)}:{self.nspawn.environment['PATH']}"
                )
            self.daemon = LabDaemon(self.nspawn)
            if config:
                with open(self.daemon.root / "config.toml", "a", encoding="utf-8") as file:
                    file.write(f"[network]\n{config}\n")
            stack.callback(self.daemon.end)
            self._stack = stack.pop_all()

    def close(self) -> None:
        for container in self.containers.values():
            container.close()
        self.containers.clear()
        self._stack.close()

    def rootfs(self, name: str) -> Path:
        place = self.folder / f"rootfs-{name}"
        return place if place.exists() else rootfs.copy(self.base, place)

    def create(self, name: str, *options: str) -> None:
        """A container with a network of its own.  options: of `nspawn create`."""
        self.nspawn.ok(
            "create",
            name,
            "--rootfs",
            self.rootfs(name),
            "--net",
            "nat",
            *options,
            "--set",
            f"command=/bin/sh -c '{FOREVER}'",
            "--set",
            "stop_time=0",
        )

    def start(self, name: str, port: int = PORT) -> Container:
        """port: of its echo service."""
        self.nspawn.ok("start", name)
        return self.running(name, port)

    def running(self, name: str, port: int = PORT) -> Container:
        """One that runs already."""
        self.containers[name] = Container(self.lab, name, self.daemon.pid(name), port)
        return self.containers[name]

    def run(self, name: str, *options: str, port: int = PORT) -> Container:
        """Create and start it."""
        self.create(name, *options)
        return self.start(name, port)

    def stop(self, name: str) -> None:
        self.containers.pop(name).close()
        self.nspawn.ok("stop", name, "--time", "0")

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    def status(self) -> dict[str, Any]:
        found = self.nspawn.json("net", "status", "--json")
        assert isinstance(found, dict)
        return found


def _links(folder: Path, backend: str) -> Path:
    """A folder for PATH, where iptables is of that backend."""
    place = folder / f"iptables-{backend}"
    place.mkdir()
    for family in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            (place / f"{family}{suffix}").symlink_to(f"/usr/sbin/{family}-{backend}{suffix}")
    return place


@contextmanager
def foreground(lab: Lab, nspawn: LabProgram, place: Path, *options: str | Path) -> Iterator[Container]:
    """`nspawn --net ... ROOTFS` in the foreground, for the block."""
    with nspawn.box(place, *options) as box:
        container = Container(lab, place.name.removeprefix("rootfs-"), box.pid)
        try:
            yield container
        finally:
            container.close()
