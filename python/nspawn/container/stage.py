"""In the child: from fresh namespaces to the container's root.

Until `leave_host`, the host can be reached, so nothing in the rootfs is looked up but by kernel/inroot.py,
which follows no link; afterwards every path ends in the container by itself.  (pivot_root(".", ".") leaves
the old root over the new one, and the kernel crosses it on `..`: in between is no safe time.)
"""

from __future__ import annotations

import errno
import os
import stat

from nspawn.errors import NspawnError
from nspawn.kernel import inroot, libc
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


def assemble(stage: str, plan: Iterable[Operation], warn: Warn) -> None:
    """Fill the stage, and leave it the working directory.

    warn gets a sentence for each optional step that failed.
    """
    _make_private()
    libc.mount("nspawn", stage, "tmpfs", libc.MS_NOSUID, "mode=0700")
    os.chdir(stage)
    for step in plan:
        apply(step, warn)


def apply(step: Operation, warn: Warn) -> None:
    """Do one step, in the stage."""
    try:
        _APPLY[step.verb](step)
    except OSError as error:
        if not step.optional:
            raise NspawnError(f"cannot do: {step.describe()}", error.strerror or "") from error
        missing = f"; the kernel may lack CONFIG_{step.option}" if step.option else ""
        warn(f"skipped: {step.describe()} ({error.strerror}{missing})")


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


def mount_root(stage: str, rootfs: int, *, ephemeral: bool) -> int:
    """Mount the rootfs in the stage: itself with suid and dev (/data has neither), or an overlay over it.

    Returns a descriptor of the mounted root.  The working directory is the stage, before and after.
    """
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
    else:
        os.fchdir(rootfs)
        libc.mount(".", place, None, libc.MS_BIND | libc.MS_REC)
        libc.mount(None, place, None, libc.MS_REMOUNT | libc.MS_BIND)
        os.chdir(stage)
    return os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def move_in(stage: str, root: int) -> None:
    """Move the assembled folders below the mounted root."""
    os.fchdir(root)
    for name in mounts.MOVED:
        _mount_point(name)
        try:
            libc.mount(f"{stage}/{name}", name, None, libc.MS_MOVE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Nothing is mounted there (a kernel without sysfs): an empty folder hides the rootfs's own.
            libc.mount(f"{stage}/{name}", name, None, libc.MS_BIND)


def _mount_point(name: str) -> None:
    try:
        mode = os.lstat(name).st_mode
    except FileNotFoundError:
        try:
            os.mkdir(name, 0o755)
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


def bind_all(stage: str, root: int, binds: Iterable[Bind], warn: Warn) -> None:
    """Mount each source of the host at its target below the mounted root, which is made when missing."""
    for bind in binds:
        try:
            _bind(stage, root, bind)
        except OSError as error:
            if bind.optional:
                warn(f"skipped: the bind {bind} ({error.strerror})")
                continue
            raise NspawnError(
                f"cannot bind {bind.source!r} at {bind.target!r}",
                error.strerror or "",
                "The source must be there; a folder goes onto a folder, a file onto a file.",
            ) from error


def _bind(stage: str, root: int, bind: Bind) -> None:
    source = os.path.realpath(bind.source)
    is_folder = stat.S_ISDIR(os.stat(source).st_mode)
    place = inroot.find(root, bind.target, make="folder" if is_folder else "file")
    try:
        os.fchdir(place.folder)
        libc.mount(source, place.name, None, libc.MS_BIND | libc.MS_REC)
        if bind.read_only:
            _make_read_only(place.name, f"{stage}/{mounts.ROOT}{place.path}")
    finally:
        os.close(place.folder)


def _make_read_only(name: str, path: str) -> None:
    """Make a mount and everything mounted below it read-only.  name: from here; path: its whole path."""
    try:
        libc.mount_setattr(name, libc.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # before Linux 5.12
            raise
        keep = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC | libc.MS_NOATIME
        for below in _mounts_below(path):
            flags = os.statvfs(below).f_flag & keep
            libc.mount(None, below, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | flags)


def _mounts_below(path: str) -> list[str]:
    """The path and every mount below it."""
    found = [path]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            place = line.split(" ", 5)[4]
            for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
                place = place.replace(escaped, plain)
            if place.startswith(f"{path}/"):
                found.append(place)
    return found


def leave_host(root: int) -> None:
    """Make the mounted root the root, and let go of the old one.

    A root on ramfs, and a caller in a chroot, cannot pivot: there the rootfs is moved over the root.
    """
    os.fchdir(root)
    os.close(root)
    try:
        libc.pivot_root(".", ".")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        libc.mount(".", "/", None, libc.MS_MOVE)
    else:
        libc.umount2(".", libc.MNT_DETACH)
    # After the move; and a shell under Termux's tsu keeps a root of its own otherwise (facts: quirks).
    os.chroot(".")
    os.chdir("/")


def mask_units(units: Iterable[str]) -> None:
    """Mask units of a rootfs that carries systemd, in its /run."""
    if not (os.access("/lib/systemd/systemd", os.F_OK) or os.access("/usr/lib/systemd/systemd", os.F_OK)):
        return
    os.makedirs("/run/systemd/system", 0o755, exist_ok=True)
    for unit in units:
        try:
            os.symlink("/dev/null", f"/run/systemd/system/{unit}")
        except FileExistsError:
            continue  # in a folder that the user has bound there
