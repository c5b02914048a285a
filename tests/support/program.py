"""The program under test, started as a person would start it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pexpect

from tests.support import processes
from tests.support.command import Result, end_group, run, shell_status
from tests.support.machine import MARK

REPOSITORY = Path(__file__).resolve().parents[2]
POOR_KERNEL = Path(__file__).with_name("poor_kernel.py")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Words = Sequence[str | Path]


class Program:
    """One of system/bin, with its own state folder.

    root: NSPAWN_ROOT.
    """

    def __init__(self, root: Path, name: str = "nspawn") -> None:
        self.root = root
        self.path = REPOSITORY / "system" / "bin" / name
        self.environment: dict[str, str] = {
            "PATH": os.environ.get("PATH", PATH),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "NSPAWN_ROOT": str(root),
            MARK: str(root),
        }

    @property
    def enter(self) -> list[str]:
        """The command line that leads to the machine on which it runs; none for this one."""
        return []

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
        """Run it to its end.

        prefix: a command line that starts it, such as setpriv with its options.
        environment: changes; None takes a variable away.
        """
        return run(
            [*self.enter, *prefix, self.path, *arguments],
            environment=self.changed(environment),
            stdin=stdin,
            timeout=timeout,
            directory=directory,
            descriptors=descriptors,
        )

    def changed(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.environment, **(changes or {})}
        return {key: value for key, value in merged.items() if value is not None}

    def ok(self, *arguments: str | Path, timeout: float = 20.0) -> Result:
        """Run it and demand status 0."""
        result = self(*arguments, timeout=timeout)
        assert result.status == 0, str(result)
        return result

    def json(self, *arguments: str) -> object:
        found: object = json.loads(self.ok(*arguments).out)
        return found

    @contextmanager
    def terminal(
        self,
        *arguments: str | Path,
        size: tuple[int, int] = (24, 80),
        environment: Mapping[str, str | None] | None = None,
    ) -> Iterator[pexpect.spawn[str]]:
        """Run it on a terminal of its own.  size: rows and columns."""
        child: pexpect.spawn[str] = pexpect.spawn(
            str(self.path),
            [str(word) for word in arguments],
            env=self.changed(environment),
            dimensions=size,
            encoding="utf-8",
            codec_errors="replace",
            timeout=15,
        )
        try:
            yield child
        finally:
            child.close(force=True)

    @contextmanager
    def box(
        self,
        rootfs: Path,
        *options: str | Path,
        prefix: Words = (),
        environment: Mapping[str, str | None] | None = None,
        start: str = ":",
    ) -> Iterator[Box]:
        """A container that stays until the block ends.  start: shell commands it runs first."""
        token = f"box-{uuid.uuid4().hex}"
        script = f"{start}\necho ready\nwhile :; do sleep 1000; done"
        words = [*prefix, self.path, *options, rootfs, "/bin/sh", "-c", script, token]
        with subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.changed(environment),
            start_new_session=True,
        ) as process:
            guard = threading.Timer(30, end_group, [process.pid])
            guard.start()
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                said = process.stdout.readline()
                guard.cancel()
                if said != b"ready\n":
                    end_group(process.pid)
                    raise AssertionError(f"no container: {said!r} {process.stderr.read()!r}")
                box = Box(process, token)
                yield box
                box.end()
            finally:
                guard.cancel()
                end_group(process.pid)


class Box:
    """A running container, seen from the host.

    pid: its first process, by the host's count.
    """

    def __init__(self, process: subprocess.Popen[bytes], token: str) -> None:
        self.process = process
        ours = processes.namespace("self", "mnt")
        inside = [pid for pid in processes.with_argument(token) if processes.namespace(pid, "mnt") != ours]
        first = [pid for pid in inside if processes.parent(pid) not in inside]
        assert len(first) == 1, f"the processes of the container: {inside}"
        self.pid = first[0]

    def enter(self, *command: str, stdin: bytes = b"", timeout: float = 20.0) -> Result:
        """Run a program inside by nsenter, in every namespace of the container."""
        return run(
            ["nsenter", "-t", str(self.pid), "-a", *command],
            stdin=stdin,
            timeout=timeout,
            environment={"PATH": PATH},
        )

    def sh(self, script: str, timeout: float = 20.0) -> str:
        """What a shell script inside says; it must end well."""
        result = self.enter("/bin/sh", "-c", script, timeout=timeout)
        assert result.status == 0, str(result)
        return result.out.rstrip("\n")

    def file(self, path: str) -> Path:
        """A file inside, by its path on the host (links in it lead to the host's files: lstat only)."""
        return Path(f"/proc/{self.pid}/root{path}")

    def mounts(self) -> dict[str, Mount]:
        """What findmnt sees in the container, by mount point; of several on one the last."""
        result = run(
            ["findmnt", "-N", str(self.pid), "-J", "-l", "-o", "TARGET,FSTYPE,OPTIONS,SOURCE,PROPAGATION"]
        )
        assert result.status == 0, str(result)
        return {
            entry["target"]: Mount(
                entry["fstype"], entry["options"].split(","), entry["source"], entry["propagation"]
            )
            for entry in json.loads(result.out)["filesystems"]
        }

    def end(self) -> int:
        """Kill the container's first process from outside; the status of the command line."""
        if self.process.poll() is None:
            try:
                os.kill(self.pid, 9)
            except ProcessLookupError:
                pass
            self.process.communicate(timeout=10)
        return shell_status(self.process.returncode)


class Mount:
    """One line of findmnt.  options: of the mount and of the file system together."""

    def __init__(self, kind: str, options: list[str], source: str, propagation: str) -> None:
        self.kind = kind
        self.options = frozenset(options)
        self.source = source
        self.propagation = propagation

    def __repr__(self) -> str:
        return f"Mount({self.kind}, {sorted(self.options)}, {self.source}, {self.propagation})"

    def option(self, name: str) -> str:
        """The value of `name=value`, or the empty text."""
        for option in self.options:
            key, _, value = option.partition("=")
            if key == name:
                return value
        return ""
