"""In the child: from fresh namespaces to the container's root.

`assemble` works in a tmpfs over an empty folder; `enter` makes the rootfs the root first and moves the
assembled folders in afterwards.  By then every absolute path is looked up below the rootfs, so that no
link in it, however hostile, can lead to the host.  What is needed from the host meanwhile is reached by
descriptors taken before.
"""

from __future__ import annotations

import errno
import os
import stat

from nspawn.errors import NspawnError
from nspawn.kernel import libc
from nspawn.model import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nspawn.model.mounts import Operation
    from nspawn.model.runspec import Bind

    Warn = Callable[[str], None]

_FLAGS = {
    "ro": libc.MS_RDONLY,
    "nosuid": libc.MS_NOSUID,
    "nodev": libc.MS_NODEV,
    "noexec": libc.MS_NOEXEC,
    "noatime": libc.MS_NOATIME,
    "strictatime": libc.MS_STRICTATIME,
}


def assemble(stage: str, plan: Iterable[Operation], warn: Warn) -> int:
    """Fill the stage; returns its descriptor and leaves it the working directory.

    warn gets a sentence for each optional step that failed.
    """
    _make_private()
    libc.mount("nspawn", stage, "tmpfs", libc.MS_NOSUID, "mode=0700")
    os.chdir(stage)
    for step in plan:
        try:
            _APPLY[step.verb](step)
        except OSError as error:
            if not step.optional:
                raise NspawnError(f"cannot do: {step.describe()}", error.strerror or "") from error
            missing = f"; the kernel may lack CONFIG_{step.option}" if step.option else ""
            warn(f"skipped: {step.describe()} ({error.strerror}{missing})")
    return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _make_private() -> None:
    """Cut our copy of the mounts off from the host's, so that nothing we mount shows there."""
    try:
        libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A caller in a chroot whose root is no mount: nothing to cut off, unless something is shared.
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            if any(" shared:" in line.partition(" - ")[0] for line in lines):
                raise NspawnError(
                    "a container cannot be started from this chroot",
                    "its root is a plain folder of a mount that is shared with the host",
                    "Start it from outside, or bind-mount the chroot's folder on itself first.",
                ) from error


def _mount(step: Operation) -> None:
    flags, data = parse_options(step.options)
    libc.mount(step.source or step.kind, step.target, step.kind, flags, data)


def parse_options(options: str) -> tuple[int, str]:
    """Fstab's options as the flags and the data of mount(2)."""
    flags, data = 0, []
    for option in options.split(","):
        flag = _FLAGS.get(option)
        if flag is None:
            data.append(option)
        else:
            flags |= flag
    return flags, ",".join(data)


def _folder(step: Operation) -> None:
    try:
        os.mkdir(step.target, step.numbers[0])
    except FileExistsError:
        pass


def _node(step: Operation) -> None:
    mode, major, minor = step.numbers
    os.mknod(step.target, stat.S_IFCHR | mode, os.makedev(major, minor))


def _link(step: Operation) -> None:
    os.symlink(step.source, step.target)


def _write(step: Operation) -> None:
    with open(step.target, "w", encoding="ascii") as file:
        file.write(step.source)


def _mask(step: Operation) -> None:
    try:
        mode = os.stat(step.target).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        libc.mount(
            "tmpfs",
            step.target,
            "tmpfs",
            libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC,
            "size=0",
        )
    else:
        libc.mount("dev/null", step.target, None, libc.MS_BIND)


def _readonly(step: Operation) -> None:
    _rebind(step.target, libc.MS_RDONLY)


def _writable(step: Operation) -> None:
    _rebind(step.target, 0)


def _rebind(path: str, flags: int) -> None:
    try:
        libc.mount(path, path, None, libc.MS_BIND)
    except FileNotFoundError:
        return
    flags |= libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    libc.mount(None, path, None, libc.MS_REMOUNT | libc.MS_BIND | flags)


_APPLY: dict[str, Callable[[Operation], None]] = {
    "mount": _mount,
    "folder": _folder,
    "node": _node,
    "link": _link,
    "write": _write,
    "mask": _mask,
    "readonly": _readonly,
    "writable": _writable,
}


def open_rootfs(path: str) -> int:
    """A descriptor of the rootfs's folder, or NspawnError."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NspawnError(
            f"there is no rootfs at {path!r}",
            hint="Give the folder of a root file system, or make one: nspawn create NAME --image builtin.",
        ) from None
    except NotADirectoryError:
        raise NspawnError(
            f"{path!r} is not a folder",
            hint="A rootfs is a folder; to use an archive: nspawn create NAME --tar FILE.",
        ) from None
    except OSError as error:
        raise NspawnError(f"cannot open the rootfs {path!r}", error.strerror or "") from error


def refuse_own_root(rootfs: int) -> None:
    """The host's own root is no rootfs: its /etc/hostname would be written."""
    if os.path.samestat(os.fstat(rootfs), os.stat("/")):
        raise NspawnError(
            "the host's own root cannot be a rootfs", hint="Give a folder that holds another system."
        )


def mount_root(stage: str, rootfs: int, *, ephemeral: bool) -> None:
    """Mount the rootfs in the stage: itself with suid and dev (/data has neither), or an overlay over it."""
    place = f"{stage}/{mounts.ROOT}"
    if ephemeral:
        # Relative and /proc paths: a comma or colon in the real ones would need quoting.
        for folder in ("upper", "work"):
            os.mkdir(folder, 0o755)
        layers = f"lowerdir=/proc/self/fd/{rootfs},upperdir=upper,workdir=work"
        try:
            libc.mount("overlay", place, "overlay", 0, layers)
        except OSError as error:
            raise NspawnError(
                "no ephemeral container here",
                f"the kernel refuses an overlay over this rootfs: {error.strerror}",
                "It needs CONFIG_OVERLAY_FS and a file system it accepts below (some kernels refuse f2fs).",
            ) from error
        return
    os.fchdir(rootfs)
    libc.mount(".", place, None, libc.MS_BIND | libc.MS_REC)
    libc.mount(None, place, None, libc.MS_REMOUNT | libc.MS_BIND)


def pivot(stage: str) -> bool:
    """Make the mounted rootfs the root; the old root lies over it until `leave_host`.

    A root on ramfs, and a caller in a chroot, cannot pivot: there the rootfs is moved over the root, and
    False is returned, for there is nothing to leave.
    """
    os.chdir(f"{stage}/{mounts.ROOT}")
    try:
        libc.pivot_root(".", ".")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        libc.mount(".", "/", None, libc.MS_MOVE)
        os.chroot(".")
        over = False
    else:
        over = True
    try:
        libc.umount2("/proc", libc.MNT_DETACH)  # one that was left mounted in the rootfs is not for us
    except OSError:
        pass
    return over


def leave_host() -> None:
    """Let go of the old root, which lies over ours."""
    os.chdir("/")
    libc.umount2(".", libc.MNT_DETACH)


def move_in(stage: int) -> None:
    """Move the assembled folders from the stage's descriptor below the new root; closes the descriptor."""
    os.fchdir(stage)
    os.close(stage)
    for name in mounts.MOVED:
        _mount_point(name)
        libc.mount(name, f"/{name}", None, libc.MS_MOVE)


def _mount_point(name: str) -> None:
    try:
        mode = os.lstat(f"/{name}").st_mode
    except FileNotFoundError:
        try:
            os.mkdir(f"/{name}", 0o755)
        except OSError as error:
            raise NspawnError(
                f"the rootfs has no /{name}",
                f"and it cannot be made: {error.strerror}",
                f"Make the folder {name} in it.",
            ) from error
        return
    if not stat.S_ISDIR(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "no folder"
        raise NspawnError(
            f"the rootfs is refused: its /{name} is {kind}",
            hint=f"Replace /{name} in the rootfs by an empty folder, if you trust where it comes from.",
        )


class Source:
    """A path of the host that will be bound: the descriptor of its folder and the name in it."""

    __slots__ = ("bind", "folder", "is_folder", "moved", "name")

    def __init__(self, bind: Bind) -> None:
        self.bind = bind
        self.moved = bind.target.split("/")[1] in mounts.MOVED  # it goes into a folder that is moved in
        real = os.path.realpath(bind.source)
        self.is_folder = stat.S_ISDIR(os.stat(real).st_mode)
        self.name = "." if self.is_folder else os.path.basename(real)
        self.folder = os.open(
            real if self.is_folder else os.path.dirname(real), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        )


def open_sources(binds: Iterable[Bind], warn: Warn) -> list[Source]:
    """Descriptors of all sources, taken while the host's root is still ours."""
    found = []
    for bind in binds:
        try:
            found.append(Source(bind))
        except OSError as error:
            if not bind.optional:
                raise NspawnError(
                    f"cannot bind {bind.source!r}",
                    error.strerror or "",
                    "Make it on the host first, or leave the bind away.",
                ) from error
            warn(f"skipped: the bind {bind} ({error.strerror})")
    return found


def bind_sources(sources: Iterable[Source], warn: Warn) -> None:
    """Mount each source at its target, which is made when it is missing."""
    for source in sources:
        target = source.bind.target
        try:
            _make_target(target, is_folder=source.is_folder)
            os.fchdir(source.folder)
            libc.mount(source.name, target, None, libc.MS_BIND | libc.MS_REC)
            if source.bind.read_only:
                _make_read_only(target)
        except OSError as error:
            if not source.bind.optional:
                raise NspawnError(
                    f"cannot bind {source.bind.source!r} at {target!r}",
                    error.strerror or "",
                    "A folder goes onto a folder, a file onto a file.",
                ) from error
            warn(f"skipped: the bind {source.bind} ({error.strerror})")
        finally:
            os.close(source.folder)


def _make_read_only(target: str) -> None:
    """Make a mount and everything mounted below it read-only."""
    try:
        libc.mount_setattr(target, libc.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # before Linux 5.12
            raise
        keep = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC | libc.MS_NOATIME
        for path in _mounts_below(target):
            flags = os.statvfs(path).f_flag & keep
            libc.mount(None, path, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | flags)


def _mounts_below(target: str) -> list[str]:
    """The target and every mount below it; needs a /proc of any PID namespace that shows us."""
    found = [target]
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            places = [line.split(" ", 5)[4] for line in lines]
    except OSError:
        return found
    for place in places:
        path = (
            place.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        )
        if path.startswith(f"{target}/"):
            found.append(path)
    return found


def _make_target(target: str, *, is_folder: bool) -> None:
    if os.path.lexists(target):
        return
    os.makedirs(target if is_folder else os.path.dirname(target), 0o755, exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def mask_units(units: Iterable[str]) -> None:
    """Mask units of a rootfs that carries systemd, in its /run."""
    if not (os.access("/lib/systemd/systemd", os.F_OK) or os.access("/usr/lib/systemd/systemd", os.F_OK)):
        return
    os.makedirs("/run/systemd/system", 0o755, exist_ok=True)
    for unit in units:
        os.symlink("/dev/null", f"/run/systemd/system/{unit}")
