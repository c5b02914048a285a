"""How the programs in a container look up names: /etc/resolv.conf, and what its own services must know.

Called in the container's root, when nothing of the host can be reached any more: every path, every link of a
hostile rootfs ends in the container.
"""

from __future__ import annotations

import errno
import os
import stat

from nspawn.kernel import inroot, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PATH = "/etc/resolv.conf"
#: Where the containers' names are: `web` is looked up as `web.nspawn`.
SEARCH = "nspawn"
_FIRST = "# Written by nspawn at each start; the option --dns names other servers."
_BESIDE = "/run/nspawn-resolv.conf"
_LIMIT = 1 << 16

#: Services of a guest that would configure eth0 anew, or the file: (the program, its drop-in, the text).
#: systemd-networkd drops addresses that it did not set, and images for LXC tell it to ask for DHCP on eth0.
_NETWORKD = (
    ("/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"),
    "/run/systemd/network/00-nspawn.network",
    "[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n",
)
_MANAGER = (
    ("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"),
    "/run/NetworkManager/conf.d/nspawn.conf",
    "[main]\ndns=none\n[keyfile]\nunmanaged-devices=interface-name:eth0\n",
)
_RESOLVED = ("/usr/lib/systemd/systemd-resolved", "/lib/systemd/systemd-resolved")
_RESOLVED_CONF = "/run/systemd/resolved.conf.d/nspawn.conf"


def text(servers: Iterable[str], search: str = SEARCH) -> str:
    """The file's text.  servers: addresses, in order; search: a domain, or ""."""
    lines = [_FIRST, *([f"search {search}"] if search else []), *(f"nameserver {it}" for it in servers)]
    return "\n".join(lines) + "\n"


def write(
    servers: Sequence[str], warn: Callable[[str], None], *, search: str = SEARCH, read_only: bool = False
) -> None:
    """Write /etc/resolv.conf of the root we are in, where it says something else.

    search: "" with servers that do not know the containers.  read_only: the rootfs is, already; then a file
    of the container's own /run covers the one that is there.  Whatever it was before, a link, a device, it is
    a plain file afterwards; but what the user has bound there stays.
    """
    wanted = text(servers, search)
    try:
        if not (_is(wanted) or (not read_only and _replaced(wanted))):
            _cover(wanted)
    except FileNotFoundError:
        pass  # a rootfs without /etc
    except OSError as error:
        warn(f"skipped: {PATH} could not be written ({error.strerror})")
    try:
        _tell_services(servers, search)
    except OSError as error:
        warn(f"skipped: what the rootfs's own network services must know ({error.strerror})")


def _is(wanted: str) -> bool:
    """Whether the file, and no link to it, says this already."""
    try:
        found = os.lstat(PATH)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LIMIT:
        return False
    descriptor = os.open(PATH, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LIMIT) == wanted.encode()
    finally:
        os.close(descriptor)


def _replaced(wanted: str) -> bool:
    """By a new file and rename, which follows no link; False when this file cannot be replaced."""
    fresh = "/etc/.resolv.conf.nspawn"
    try:
        try:
            os.unlink(fresh)
        except FileNotFoundError:
            pass
        _new(fresh, wanted)
        try:
            os.rename(fresh, PATH)
        except OSError as error:
            os.unlink(fresh)
            return error.errno == errno.EBUSY  # the user has bound something there
    except FileNotFoundError:
        raise
    except OSError:  # a file system that is read-only by itself, a full one, an immutable file
        return False
    return True


def _cover(wanted: str) -> None:
    """Bind a file over it, which lies in the container's own /run for as long as that takes."""
    if _is_mounted():
        return
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = inroot.find(root, PATH, make="file")
    finally:
        os.close(root)
    try:
        _new(_BESIDE, wanted)
        try:
            os.fchdir(place.folder)
            libc.mount(_BESIDE, place.name, None, libc.MS_BIND)
        finally:
            os.chdir("/")
            os.unlink(_BESIDE)
    finally:
        os.close(place.folder)


def _is_mounted() -> bool:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return any(line.split(" ", 5)[4] == PATH for line in lines)


def _tell_services(servers: Sequence[str], search: str) -> None:
    """By drop-ins in its /run, so that the rootfs stays as it is."""
    for programs, place, content in (_NETWORKD, _MANAGER):
        if _any(programs):
            _drop_in(place, content)
    if _any(_RESOLVED):
        # Also where /etc/resolv.conf becomes a link to its stub again, which its package does.
        domains = f"Domains={search}\n" if search else ""
        _drop_in(_RESOLVED_CONF, f"[Resolve]\nDNS={' '.join(servers)}\n{domains}")


def _any(paths: Iterable[str]) -> bool:
    return any(os.access(path, os.F_OK) for path in paths)


def _drop_in(path: str, content: str) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    try:
        _new(path, content)
    except FileExistsError:
        pass  # in a folder that the user has bound there


def _new(path: str, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        data = content.encode()
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)
