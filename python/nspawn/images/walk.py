"""Every file of the root that the process is in, for packing and copying: nothing is followed or entered.

The process has made the root file system its root: whatever a name or a link says, nothing else can be met.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

#: A path that is longer cannot be made again (PATH_MAX).
_LONGEST_PATH = 4090
#: Of folders below each other: `untar` takes no more.
_DEEPEST = 256
#: Labels of the policy here mean nothing, or harm, elsewhere; a file gets its own where it is made.
_FOREIGN_XATTRS = ("security.selinux", "security.ima", "security.evm")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: More pieces than this are no sparse file but a torn one: it is stored whole.
_MOST_PIECES = 8192


@dataclass(frozen=True)
class Entry:
    """path: below the root, "" for the root itself.  first: of a hard link, the path that came before."""

    path: str
    status: os.stat_result
    first: str = ""

    @property
    def name(self) -> str:
        """From the root on, for system calls."""
        return f"/{self.path}"


@dataclass
class Counts:
    """What was met.  bytes: of content; the rest counts what was left out, or came out as it could."""

    entries: int = 0
    bytes: int = 0
    sockets: int = 0
    mounts: int = 0
    long: int = 0
    gone: int = 0
    changed: int = 0
    attributes: int = 0
    nodes: int = 0
    reflinks: int = 0
    named: int = 0


def walk(mounted: Collection[str], counts: Counts, without: str = "") -> Iterator[Entry]:
    """Every entry, a folder before what is in it, names in order.

    mounted: paths where others begin.  without: a path that is left out.
    """
    top = os.lstat("/")
    yield Entry("", top)
    seen: dict[tuple[int, int], str] = {}
    stack = [iter(_names("/", counts))]
    prefixes = [""]
    while stack:
        name = next(stack[-1], None)
        if name is None:
            stack.pop()
            prefixes.pop()
            continue
        path = prefixes[-1] + name
        if path == without:
            counts.named += 1
            continue
        if len(prefixes) > _DEEPEST or len(os.fsencode(path)) > _LONGEST_PATH:
            counts.long += 1
            continue
        try:
            status = os.lstat(f"/{path}")
        except FileNotFoundError:
            counts.gone += 1
            continue
        kind = stat.S_IFMT(status.st_mode)
        foreign = status.st_dev != top.st_dev or path in mounted
        counts.mounts += foreign
        if kind == stat.S_IFDIR:
            yield Entry(path, status)
            if not foreign:
                stack.append(iter(_names(f"/{path}", counts)))
                prefixes.append(f"{path}/")
        elif kind == stat.S_IFSOCK:
            counts.sockets += 1
        elif not foreign:
            first = ""
            if status.st_nlink > 1:
                first = seen.setdefault((status.st_dev, status.st_ino), path)
            yield Entry(path, status, "" if first == path else first)


def _names(folder: str, counts: Counts) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        counts.gone += 1
        return []


def weight(entry: Entry) -> int:
    """Bytes of work, roughly: what it takes on the disk."""
    if not stat.S_ISREG(entry.status.st_mode) or entry.first:
        return 512
    return 512 + min(entry.status.st_size, entry.status.st_blocks * 512)


def open_file(entry: Entry) -> int | None:
    """A descriptor of a plain file; None when it is another one by now."""
    for flags in (_READ | os.O_NOATIME, _READ):
        try:
            descriptor = os.open(entry.name, flags)
        except PermissionError:
            continue  # O_NOATIME is for the owner, and root of this user namespace may be none
        except OSError:
            return None
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) == (entry.status.st_dev, entry.status.st_ino):
            return descriptor
        os.close(descriptor)
        return None
    return None


def pieces(descriptor: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """(offset, length) of what a file with holes holds; None for one without."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # nothing but a hole to the end
            return None
        if begin >= size:
            break
        found.append((begin, end - begin))
        if len(found) > _MOST_PIECES:
            return None
    return None if found == [(0, size)] else found


def attributes(entry: Entry) -> list[tuple[str, bytes]]:
    """The extended attributes of the entry itself, sorted."""
    try:
        names = os.listxattr(entry.name, follow_symlinks=False)
    except OSError:
        return []
    found = []
    for name in sorted(names):
        if name in _FOREIGN_XATTRS:
            continue
        try:
            found.append((name, os.getxattr(entry.name, name, follow_symlinks=False)))
        except OSError:
            continue
    return found


def total(mounted: Collection[str], tick: Callable[[], None]) -> int:
    """The weight of all entries.  tick: called now and then."""
    count = 0
    for number, entry in enumerate(walk(mounted, Counts())):
        count += weight(entry)
        if not number % 256:
            tick()
    return count
