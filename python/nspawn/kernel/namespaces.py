"""Which namespaces this kernel has."""

from __future__ import annotations

import os

from nspawn.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

#: Name in /proc/self/ns, flag, and the kernel option that gives it.
NAMESPACES = (
    ("mnt", libc.CLONE_NEWNS, "NAMESPACES"),
    ("pid", libc.CLONE_NEWPID, "PID_NS"),
    ("ipc", libc.CLONE_NEWIPC, "IPC_NS"),
    ("uts", libc.CLONE_NEWUTS, "UTS_NS"),
    ("cgroup", libc.CLONE_NEWCGROUP, "CGROUPS"),
    ("time", libc.CLONE_NEWTIME, "TIME_NS"),
    ("net", libc.CLONE_NEWNET, "NET_NS"),
)


def available() -> int:
    """The CLONE_NEW* flags of all namespaces that /proc/self/ns shows.

    A kernel may still refuse one (a seccomp filter, a vendor's patch): see `usable`.
    """
    flags = 0
    for name, flag, _option in NAMESPACES:
        # readlink, not stat: the links lead into nsfs, and /proc/self/ns/x exists exactly with the option.
        try:
            os.readlink(f"/proc/self/ns/{name}")
        except OSError:
            continue
        flags |= flag
    return flags


def usable(flags: int) -> int:
    """Those of `flags` that a child of ours can really unshare, each tried once in a child."""
    return sum(flag for _name, flag, _option in NAMESPACES if flags & flag and can_unshare(flag))


def can_unshare(flag: int) -> bool:
    """Whether unshare(2) takes this flag.

    unshare(CLONE_NEWPID) itself moves nobody: the namespace gets its first process only with a fork,
    which is the step that some 6.6 vendor kernels do not survive (facts: quirks); none is made here.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            libc.unshare(flag)
            status = 0
        except OSError:
            pass
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def survives(flag: int) -> bool:
    """Make one namespace with a first process in it; whether that was allowed.

    Some kernels do not come back from it: the caller has noted it (container/guard.py).
    """
    from nspawn.kernel.clone import clone  # for the guard only

    try:
        if flag == libc.CLONE_NEWCGROUP:
            return can_unshare(flag)  # as a cell does it
        pid, _born = clone(flag)
    except OSError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def flags_of(wanted: Collection[str]) -> int:
    """The flags of these names; unknown ones have none."""
    return sum(flag for name, flag, _option in NAMESPACES if name in wanted)


def names(flags: int) -> list[str]:
    """The names of these flags, as in /proc/PID/ns."""
    return [name for name, flag, _option in NAMESPACES if flags & flag]
