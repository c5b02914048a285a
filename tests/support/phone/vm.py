"""A phone as a virtual machine: arm64, a Debian kernel, Android's tree; emulated by qemu, so it is slow.

The disks are real ones: what the guest did not sync is lost when the power is cut.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: What an old phone has left for programs, in megabytes.
MEMORY = 540

#: Where the guest's relay to its page listens: qemu's user network does not reach the guest's loopback.
RELAY = 18080


class PowerLoss(AssertionError):
    """The virtual machine ended, or said nothing in time."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a script in the phone printed (both streams), and its status."""

    script: str
    status: int
    out: str

    def __str__(self) -> str:
        return f"{self.script}\nstatus {self.status}\n{self.out}"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The parts of the phone: files that qemu is given. disks: by their serial numbers."""

    kernel: Path
    initramfs: Path
    system: Path
    userdata: Path
    media: Path
    arguments: Sequence[str] = field(default=())


class Phone:
    """Power, a root shell and the way to the page. console: where the kernel's messages go."""

    def __init__(self, hardware: Hardware, console: Path) -> None:
        self.hardware = hardware
        self.console = console
        self.port = _free_port()
        self.powered_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket | None = None

    def power_on(self) -> None:
        """Returns at once; `sh` waits until somebody answers."""
        assert self._process is None
        ours, theirs = socket.socketpair()
        with theirs, self.console.open("ab") as console:
            self.powered_at = time.monotonic()
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=(theirs.fileno(),),
            )
        self._shell = ours

    def cut(self) -> None:
        """The battery is pulled: nothing gets the time to do anything."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._shell:
            self._shell.close()
            self._shell = None

    def reboot(self, seconds: float = 60) -> None:
        """Ask for a reboot; it is powered on again when this returns."""
        assert self._process
        self._send("/system/bin/reboot")
        try:
            # -no-reboot: qemu ends where the machine would start again.
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise PowerLoss(f"no reboot in {seconds:.0f} s\n{self.last_words()}") from None
        self.cut()
        self.power_on()

    def sh(self, script: str, seconds: float = 60) -> Answer:
        """Run a script as root, as adb would. Raises PowerLoss."""
        mark = self._send(script)
        return self._receive(script, mark, seconds)

    def check(self, script: str, seconds: float = 60) -> str:
        """As `sh`, but it must succeed: its output."""
        answer = self.sh(script, seconds)
        assert answer.status == 0, f"{answer}\n{self.last_words()}"
        return answer.out

    def wait(self, condition: str, seconds: float = 120, step: float = 0.2) -> None:
        """Until a shell condition holds in the phone."""
        # By the clock: emulated, a round takes much longer than it sleeps.
        script = (
            f"read -r end _ </proc/uptime; end=$((${{end%%.*}} + {seconds:.0f})); until {condition}; do"
            f" read -r now _ </proc/uptime; [ ${{now%%.*}} -lt $end ] || exit 1; sleep {step}; done"
        )
        self.check(script, seconds + 30)

    def get(
        self, path: str, seconds: float = 60, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """GET from the page, asked again until it answers: status and body."""
        deadline = time.monotonic() + seconds
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
            try:
                connection.request("GET", path, headers={"Host": "localhost:8080", **(headers or {})})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise PowerLoss(f"{path}: {error}\n{self.last_words()}") from error
                time.sleep(0.25)
            finally:
                connection.close()

    def last_words(self) -> str:
        """The end of the console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "console:\n" + "\n".join(text.splitlines()[-25:])

    def _command(self, shell: int) -> list[str]:
        parts = self.hardware
        words = ["setpriv", "--pdeathsig", "KILL", "nice", "qemu-system-aarch64"]
        words += ["-machine", "virt,gic-version=3", "-cpu", "cortex-a57", "-accel", "tcg,thread=multi"]
        words += ["-smp", "2", "-m", str(MEMORY), "-no-reboot", "-nodefaults", "-no-user-config"]
        words += ["-display", "none", "-serial", "stdio"]
        words += ["-kernel", str(parts.kernel), "-initrd", str(parts.initramfs)]
        words += ["-append", " ".join(("console=ttyAMA0 quiet loglevel=4 panic=-1", *parts.arguments))]
        words += ["-device", "virtio-serial-pci", "-chardev", f"socket,id=shell,fd={shell}"]
        words += ["-device", "virtserialport,chardev=shell"]
        words += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:{RELAY}"]
        words += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        for serial, path, options in (
            ("system", parts.system, "readonly=on"),
            ("userdata", parts.userdata, "cache=writeback"),
            ("media", parts.media, "readonly=on"),
        ):
            words += ["-drive", f"if=none,id={serial},file={path},format=raw,{options}"]
            words += ["-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
        return words

    def _send(self, script: str) -> bytes:
        assert self._shell, "the phone is off"
        mark = secrets.token_hex(8).encode()
        data = script.encode()
        with contextlib.suppress(OSError):  # _receive tells
            self._shell.sendall(b"%d %s\n%s" % (len(data), mark, data))
        return mark

    def _receive(self, script: str, mark: bytes, seconds: float) -> Answer:
        assert self._shell, "the phone is off"
        deadline = time.monotonic() + seconds
        got = b""
        while not (got.endswith(b"\n") and (b"\n%s " % mark) in got):
            self._shell.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                more = self._shell.recv(1 << 16)
            except OSError:
                more = b""
            if not more:
                said = got.decode(errors="replace")
                raise PowerLoss(f"no answer in {seconds:.0f} s to: {script}\n{said}\n{self.last_words()}")
            got += more
        out, _, end = got.rpartition(b"\n%s " % mark)
        return Answer(script=script, status=int(end), out=out.decode(errors="replace"))


@contextlib.contextmanager
def powered(phone: Phone) -> Iterator[Phone]:
    """The phone is on inside; off after, whatever happened, and its disks are gone."""
    try:
        phone.power_on()
        yield phone
    finally:
        phone.cut()
        parts = phone.hardware
        for disk in (parts.system, parts.userdata, parts.media, parts.initramfs):
            disk.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
