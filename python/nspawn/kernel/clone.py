"""A fork of this interpreter into new namespaces, by one system call.

clone3(2) makes the child PID 1 of its namespaces without a second fork, enters a version 2 cgroup
without the global lock that writing cgroup.procs takes, and is a third of the cost of unshare and fork
(docs/architecture.md, Start).  Kernels before 5.3, and seccomp filters that say ENOSYS, get clone(2),
which takes all namespaces but the time namespace.

The calling process must have one thread.
"""

from __future__ import annotations

import errno
import os
import struct

from nspawn.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGCHLD = 17
_CLONE_INTO_CGROUP = 0x200000000

_before = libc.hook("PyOS_BeforeFork")
_parent = libc.hook("PyOS_AfterFork_Parent")
_child = libc.hook("PyOS_AfterFork_Child")


def clone(flags: int, cgroup: int = -1) -> tuple[int, bool]:
    """Fork into the namespaces of `flags` (CLONE_NEW*).

    cgroup: a descriptor of a version 2 cgroup's folder which the child shall be born in, or -1.
    Returns (0, born) in the child and (pid, born) in the parent; born tells whether the child is in
    that cgroup already.  Raises OSError as the kernel gives it (EINVAL: a namespace is missing).
    """
    try:
        if cgroup >= 0:
            return _clone3(flags | _CLONE_INTO_CGROUP, cgroup), True
        return _clone3(flags, 0), False
    except OSError as error:
        # E2BIG and EINVAL: CLONE_INTO_CGROUP came with 5.7, in a longer structure.
        if error.errno not in (errno.ENOSYS, errno.E2BIG, errno.EINVAL, errno.EBUSY, errno.EOPNOTSUPP):
            raise
        refused = error.errno
    if cgroup >= 0 and refused != errno.ENOSYS:
        try:
            return _clone3(flags, 0), False
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
    return _clone(flags & ~libc.CLONE_NEWTIME), False


def _clone3(flags: int, cgroup: int) -> int:
    size = 88 if cgroup else 64  # CLONE_ARGS_SIZE_VER2 and VER0, linux/sched.h
    arguments = struct.pack("11Q", flags, 0, 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, cgroup)[:size]
    # A pointer that may be cut at a NUL byte is still a pointer to all of it.
    return _fork(libc.clone3_syscall, libc.SYS_CLONE3, arguments, size)


def _clone(flags: int) -> int:
    # Every argument after the stack is zero, so that their order, which differs by machine, is moot.
    return _fork(libc.clone_syscall, libc.SYS_CLONE, flags | _SIGCHLD, 0, 0, 0, 0)


def _fork(call: Callable[..., int], *arguments: object) -> int:
    _before()
    pid = call(*arguments)
    if pid == 0:
        _child()
        return 0
    number = libc.errno()
    _parent()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid
