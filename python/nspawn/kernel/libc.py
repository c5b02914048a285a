"""System calls under their kernel names: one call each, OSError with the path when it fails.

Every prototype of the program is declared here, once, at import; on `_ctypes`, the C part of `ctypes`,
whose Python part costs another millisecond of every start.
"""

from __future__ import annotations

import _ctypes
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

_PROT_READ = 1
_MAP_SHARED = 1
_FUTEX_WAIT = 0
_EINTR, _EAGAIN = 4, 11
_OPEN_TREE_CLONE = 1
RENAME_EXCHANGE = 2
_MOVE_MOUNT_F_EMPTY_PATH = 4
MADV_DONTNEED = 4

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Numbers of calls that a C library may not wrap.  From 424 on, all architectures share them.
_MACHINE = os.uname().machine
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(_MACHINE, 218 if _MACHINE.startswith("arm") else 41)
SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(_MACHINE, 120 if _MACHINE.startswith("arm") else 220)
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}.get(_MACHINE, 382 if _MACHINE.startswith("arm") else 276)
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(_MACHINE, 240 if _MACHINE.startswith("arm") else 98)
_OPEN_TREE = 428
_MOVE_MOUNT = 429
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435
SYS_MOUNT_SETATTR = 442


class _CharP(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _ULong(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"


class _UInt(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "I"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    """A function of the C library that gives an int; errno is kept."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _Syscall(_ctypes.CFuncPtr):
    """syscall(2), which gives a long."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _HeldSyscall(_ctypes.CFuncPtr):
    """syscall(2) with the GIL kept, for a call that returns twice."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _Long


class _Quiet(_ctypes.CFuncPtr):
    """A function whose result nobody wants, called with as little around it as there can be."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = None


class _Hook(_ctypes.CFuncPtr):
    """A function of the interpreter's own API without arguments and result."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = None


_handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: the program itself


def _function(name: str, *arguments: type) -> _Function:
    found = _Function(_ctypes.dlsym(_handle, name))
    found.argtypes = arguments
    return found


def hook(name: str) -> _Hook:
    """A PyOS_* function, to be called with the GIL held."""
    return _Hook(_ctypes.dlsym(_handle, name))


_mount = _function("mount", _CharP, _CharP, _CharP, _ULong, _CharP)
_umount2 = _function("umount2", _CharP, _Int)
_unshare = _function("unshare", _Int)
_getsockopt = _function("getsockopt", _Int, _Int, _Int, _CharP, _CharP)
_setns = _function("setns", _Int, _Int)
_sethostname = _function("sethostname", _CharP, _ULong)
_prctl = _function("prctl", _Int, _ULong, _ULong, _ULong, _ULong)
#: madvise(2) of (start, length, advice).  It tells nobody that it failed, and hardly touches a page after.
madvise = _Quiet(_ctypes.dlsym(_handle, "madvise"))
madvise.argtypes = (_ULong, _ULong, _Int)
_inotify_init1 = _function("inotify_init1", _Int)
_inotify_add_watch = _function("inotify_add_watch", _Int, _CharP, _Int)
_pivot_root = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_pivot_root.argtypes = (_ULong, _CharP, _CharP)
_mount_setattr = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_mount_setattr.argtypes = (_ULong, _Int, _CharP, _Int, _CharP, _ULong)
_mmap = _Syscall(_ctypes.dlsym(_handle, "mmap"))
_mmap.argtypes = (_ULong, _ULong, _Int, _Int, _Int, _Long)
_open_tree = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_open_tree.argtypes = (_ULong, _Int, _CharP, _Int)
_move_mount = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_move_mount.argtypes = (_ULong, _Int, _CharP, _Int, _CharP, _Int)
_renameat2 = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_renameat2.argtypes = (_ULong, _Int, _CharP, _Int, _CharP, _UInt)
_plain_syscall = _Syscall(_ctypes.dlsym(_handle, "syscall"))
_plain_syscall.argtypes = (_ULong, _ULong, _ULong, _ULong, _ULong)
#: syscall(number, pointer, size) and syscall(number, five numbers), for clone.py.
clone3_syscall = _HeldSyscall(_ctypes.dlsym(_handle, "syscall"))
clone3_syscall.argtypes = (_ULong, _CharP, _ULong)
clone_syscall = _HeldSyscall(_ctypes.dlsym(_handle, "syscall"))
clone_syscall.argtypes = (_ULong, _ULong, _ULong, _ULong, _ULong, _ULong)


def errno() -> int:
    """The calling thread's errno of the last call."""
    return _ctypes.get_errno()


def failure(path: str | bytes | None = None) -> OSError:
    """The OSError for the calling thread's errno."""
    number = _ctypes.get_errno()
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
    name = os.fsencode(path)
    if _mount_setattr(SYS_MOUNT_SETATTR, _AT_FDCWD, name, _AT_RECURSIVE, arguments, len(arguments)) < 0:
        raise failure(path)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2), which the C library does not wrap."""
    if _pivot_root(_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old)) < 0:
        raise failure(new_root)


def renameat2(source: str, target: str, flags: int) -> None:
    """renameat2(2); ENOSYS before Linux 3.15, EINVAL where the file system does not have these flags."""
    names = os.fsencode(source), os.fsencode(target)
    if _renameat2(_RENAMEAT2, _AT_FDCWD, names[0], _AT_FDCWD, names[1], flags) < 0:
        raise failure(target)


def unshare(flags: int) -> None:
    """unshare(2): only Python 3.12 and newer wrap it."""
    if _unshare(flags) < 0:
        raise failure()


def getsockopt(descriptor: int, level: int, option: int, question: bytes, size: int) -> bytes:
    """getsockopt(2) of an option that is asked with a value; size: bytes of room for the answer."""
    room = struct.pack(f"{max(size, len(question))}s", question)  # new bytes, which nobody else has yet
    length = struct.pack("I", len(room))
    if _getsockopt(descriptor, level, option, room, length) < 0:
        raise failure()
    answer: int = struct.unpack("I", length)[0]
    return room[:answer]


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


def malloc_trim() -> None:
    """malloc_trim(3): give the heap's free pages back; nothing with a C library that has no such call."""
    try:
        trim = _function("malloc_trim", _ULong)
    except OSError:
        return
    trim(0)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2): a close-on-exec descriptor; ENOSYS before Linux 5.3."""
    descriptor: int = _plain_syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0)
    if descriptor < 0:
        raise failure(f"process {pid}")
    return descriptor


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


def mmap_shared(descriptor: int, length: int) -> int:
    """mmap(2) of a file from its beginning, to be read and seen as others change it: the address."""
    address: int = _mmap(0, length, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address == -1:
        raise failure()
    return address


def peek(address: int) -> int:
    """The 32 bits at an address of ours."""
    value: int = _UInt.from_address(address).value
    return value


def futex_wait(address: int, value: int) -> None:
    """futex(2): sleep while the 32 bits there are this value, until somebody wakes us or a signal comes."""
    if _plain_syscall(_FUTEX, address, _FUTEX_WAIT, value, 0) < 0 and errno() not in (_EAGAIN, _EINTR):
        raise failure()


def open_tree(path: str) -> int:
    """open_tree(2): a copy of what is at the path, mounted nowhere; ENOSYS before Linux 5.2."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    descriptor: int = _open_tree(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    if descriptor < 0:
        raise failure(path)
    return descriptor


def move_mount(descriptor: int, folder: int, name: str) -> None:
    """move_mount(2): mount what open_tree() gave at the name in a folder."""
    if _move_mount(_MOVE_MOUNT, descriptor, b"", folder, os.fsencode(name), _MOVE_MOUNT_F_EMPTY_PATH) < 0:
        raise failure(name)
