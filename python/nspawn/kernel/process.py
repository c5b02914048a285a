"""Processes by number: who they are, whether they handle a signal, how they are told apart from others."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the part of `signal` without enum


def boot_id() -> str:
    """The random id of this boot (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def start_time(pid: int) -> int:
    """Start of the process in clock ticks since boot, field 22 of proc_pid_stat(5); 0 when it is gone.

    With the boot id it tells a process from a later one with the same number.  A zombie is gone.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def handling(pid: int, signal: int) -> str:
    """What the process does with the signal: "catch", "ignore", or "default" (also when it is gone).

    What is not caught never reaches the first process of a PID namespace, except SIGKILL and SIGSTOP from
    outside (pid_namespaces(7)).
    """
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # Blocked, as systemd does it, is caught too: by signalfd(2) or sigwait(3).
                if (
                    line.startswith(("SigBlk:", "SigIgn:", "SigCgt:"))
                    and int(line[7:], 16) >> (signal - 1) & 1
                ):
                    return "ignore" if line.startswith("SigIgn") else "catch"
    except OSError:
        pass
    return "default"


def wake_on(*numbers: int) -> int:
    """A descriptor from which the numbers of these signals can be read as they come, one byte each."""
    wake, ours = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ours, False)
    for number in numbers:
        _signal.signal(number, lambda _number, _frame: None)
    _signal.set_wakeup_fd(ours)
    return wake


def be_killable() -> None:
    """Take the calling process out of the protection from the out-of-memory killer that its parent has.

    The spawner, and whatever Android's init starts, has a negative score; a container must not.
    """
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.read(descriptor, 16).startswith(b"-"):
            os.write(descriptor, b"0")
    except OSError:
        return
    finally:
        os.close(descriptor)


def stop_signal(pid: int, *, init: bool) -> int:
    """The signal that asks a container's first process to end in order; init: whether it is an init.

    By the conventions of the inits (facts: quirks, Guest service managers).  glibc's SIGRTMIN is 34
    everywhere, and SIGRTMIN+3 is systemd's orderly poweroff (systemd(1)).
    """
    if not init:
        return 15  # SIGTERM
    try:
        # An upgrade inside replaces the file of an init that goes on running.
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        program = ""
    return {"systemd": 37, "busybox": 12}.get(program, 30)  # SIGRTMIN+3, SIGUSR2, SIGPWR


def in_namespace(kind: str, pid: int) -> bool:
    """Whether the process shares our namespace of this kind (as in /proc/PID/ns)."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return False
