"""Run a program as if the kernel had less: a seccomp filter, installed before exec.

    python poor_kernel.py [--older-than N] [--without pid,ipc,...] [--refuse NAME,...] -- COMMAND...

--older-than N: every system call from number N on answers ENOSYS; 424 is about Linux 4.19 (pidfd_*,
    clone3, openat2, mount_setattr and so on are newer).
--without: clone and unshare with these namespaces answer EINVAL, as a kernel built without them does;
    clone3 answers ENOSYS, since a filter cannot see its flags (seccomp(2)).
--refuse: these system calls answer EINVAL (pivot_root does so when the root is the initial ramfs).

Needs root: the filter is set without no_new_privs, so that suid programs work as usual.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence

_NAMESPACES = {
    "time": 0x00000080,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_CALLS = {
    "x86_64": {"clone": 56, "unshare": 272, "pivot_root": 155},
    "aarch64": {"clone": 220, "unshare": 97, "pivot_root": 41},
}
_CLONE3 = 435

# linux/filter.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_OFFSET_OF_NUMBER, _OFFSET_OF_FIRST_ARGUMENT = 0, 16
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)


def _refusal(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def program(
    *, older_than: int = 0, without: Sequence[str] = (), refuse: Sequence[str] = (), machine: str = ""
) -> bytes:
    """The filter as the kernel takes it: 8 bytes a step. machine: as `uname -m`; this one by default."""
    calls = _CALLS[machine or platform.machine()]
    steps = [_step(_LOAD, _OFFSET_OF_NUMBER)]
    if older_than:
        steps += [_step(_AT_LEAST, older_than, 0, 1), _refusal(errno.ENOSYS)]
    for name in refuse:
        steps += [_step(_EQUAL, calls[name], 0, 1), _refusal(errno.EINVAL)]
    if without:
        flags = sum(_NAMESPACES[name] for name in without)
        steps += [
            _step(_EQUAL, _CLONE3, 0, 1),
            _refusal(errno.ENOSYS),
            _step(_EQUAL, calls["unshare"], 1, 0),
            _step(_EQUAL, calls["clone"], 0, 3),
            _step(_LOAD, _OFFSET_OF_FIRST_ARGUMENT),
            _step(_ANY_BIT, flags, 0, 1),
            _refusal(errno.EINVAL),
        ]
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


def install(code: bytes) -> None:
    """Set the filter for this process and what it starts; OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_SECCOMP)")


def main(arguments: list[str]) -> None:
    dashes = arguments.index("--")
    chosen = dict(zip(arguments[:dashes:2], arguments[1:dashes:2], strict=True))
    command = arguments[dashes + 1 :]
    install(
        program(
            older_than=int(chosen.get("--older-than", "0")),
            without=[word for word in chosen.get("--without", "").split(",") if word],
            refuse=[word for word in chosen.get("--refuse", "").split(",") if word],
        )
    )
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
