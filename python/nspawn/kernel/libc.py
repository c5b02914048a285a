"""System calls under their kernel names: one call each, OSError with the path when it fails.

Every ctypes prototype of the program is declared here, once, at import.
"""

from __future__ import annotations

import ctypes
import os
import struct

# Flags of mount(2).
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2

# Flags that clone(2), unshare(2) and setns(2) share.
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MOUNT_ATTR_RDONLY = 1
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Numbers of calls that a C library may not wrap.  From 424 on, all architectures share them.
_MACHINE = os.uname().machine
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(_MACHINE, 218 if _MACHINE.startswith("arm") else 41)
SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(_MACHINE, 120 if _MACHINE.startswith("arm") else 220)
SYS_PIDFD_SEND_SIGNAL = 424
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)
_bytes, _int, _ulong = ctypes.c_char_p, ctypes.c_int, ctypes.c_ulong

_mount = _libc.mount
_mount.argtypes = (_bytes, _bytes, _bytes, _ulong, _bytes)
_umount2 = _libc.umount2
_umount2.argtypes = (_bytes, _int)
_unshare = _libc.unshare
_unshare.argtypes = (_int,)
_setns = _libc.setns
_setns.argtypes = (_int, _int)
_sethostname = _libc.sethostname
_sethostname.argtypes = (_bytes, ctypes.c_size_t)
_prctl = _libc.prctl
_prctl.argtypes = (_int, _ulong, _ulong, _ulong, _ulong)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_inotify_init1 = _libc.inotify_init1
_inotify_init1.argtypes = (_int,)
_inotify_add_watch = _libc.inotify_add_watch
_inotify_add_watch.argtypes = (_int, _bytes, ctypes.c_uint32)


def failure(path: str | bytes | None = None) -> OSError:
    """The OSError for the calling thread's errno."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fsdecode(path) if path is not None else None)


def _name(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    if _mount(_name(source), os.fsencode(target), _name(kind), flags, _name(data)) < 0:
        raise failure(target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    if _umount2(os.fsencode(target), flags) < 0:
        raise failure(target)


def mount_setattr(path: str, attributes: int) -> None:
    """mount_setattr(2): set attributes on a mount and all below it; ENOSYS before Linux 5.12."""
    arguments = struct.pack("4Q", attributes, 0, 0, 0)
    name = _bytes(os.fsencode(path))
    size = _ulong(len(arguments))
    if _syscall(_ulong(SYS_MOUNT_SETATTR), _int(_AT_FDCWD), name, _int(_AT_RECURSIVE), arguments, size) < 0:
        raise failure(path)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2), which the C library does not wrap."""
    if _syscall(_ulong(_PIVOT_ROOT), _bytes(os.fsencode(new_root)), _bytes(os.fsencode(put_old))) < 0:
        raise failure(new_root)


def unshare(flags: int) -> None:
    """unshare(2): only Python 3.12 and newer wrap it."""
    if _unshare(flags) < 0:
        raise failure()


def setns(descriptor: int, kind: int) -> None:
    """setns(2): only Python 3.12 and newer wrap it."""
    if _setns(descriptor, kind) < 0:
        raise failure()


def sethostname(name: str) -> None:
    """sethostname(2)."""
    raw = os.fsencode(name)
    if _sethostname(raw, len(raw)) < 0:
        raise failure()


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    if _prctl(option, value, 0, 0, 0) < 0:
        raise failure()


def pidfd_open(pid: int) -> int:
    """pidfd_open(2): a close-on-exec descriptor; ENOSYS before Linux 5.3."""
    descriptor: int = _syscall(_ulong(SYS_PIDFD_OPEN), _ulong(pid), _ulong(0))
    if descriptor < 0:
        raise failure(f"process {pid}")
    return descriptor


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2): ENOSYS before Linux 5.1."""
    if _syscall(_ulong(SYS_PIDFD_SEND_SIGNAL), _ulong(pidfd), _ulong(signal), None, _ulong(0)) < 0:
        raise failure()


def inotify_init1(flags: int) -> int:
    """inotify_init1(2): a descriptor."""
    descriptor: int = _inotify_init1(flags)
    if descriptor < 0:
        raise failure()
    return descriptor


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """inotify_add_watch(2): a watch number."""
    watch: int = _inotify_add_watch(descriptor, os.fsencode(path), mask)
    if watch < 0:
        raise failure(path)
    return watch
