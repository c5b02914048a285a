"""A container's mounts and device nodes, as data.

`assembly` gives what is made in a staging tmpfs before the rootfs is known, so that it can be done ahead
of a request; the folders of `MOVED` then move into the rootfs.  Paths of the assembly are relative to the
stage.  Nothing here calls the kernel: container/stage.py applies it in one loop.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Mounted in the stage, moved into the rootfs, in this order.
MOVED = ("proc", "sys", "dev", "tmp", "run")
#: Where the rootfs itself is mounted before it becomes the root.
ROOT = "root"

#: Hidden: a folder under an empty read-only tmpfs, a file under /dev/null.
MASKED = (
    "proc/asound",
    "proc/sched_debug",
    "proc/scsi",
    "proc/keys",
    "proc/timer_list",
    "proc/kmsg",
    "sys/firmware",
    "sys/power",
    "sys/class/drm",
)
#: /proc/sys is the host's: a container's systemd-sysctl would tune the phone (facts: quirks, Mounts).
READ_ONLY = ("proc/bus", "proc/fs", "proc/irq", "proc/sysrq-trigger", "proc/sys")
#: Writable again inside it, by the namespace that makes it the container's own.
OWN_SYSCTL = (
    ("uts", "proc/sys/kernel/hostname"),
    ("uts", "proc/sys/kernel/domainname"),
    ("net", "proc/sys/net"),
)

#: Path below dev, mode, major, minor.
NODES = (
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("console", 0o620, 5, 1),
    ("fuse", 0o666, 10, 229),
    ("net/tun", 0o666, 10, 200),
)
LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)

#: Units of a rootfs that carries systemd which have no place in a container; masked in its /run, so that
#: the rootfs stays as it is.
MASKED_UNITS = (
    "console-getty.service",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
    "systemd-journald-audit.socket",
    "systemd-modules-load.service",
)
#: With the host's network these would take the phone's interfaces away from Android.
MASKED_NETWORK_UNITS = ("systemd-networkd.service", "systemd-networkd.socket", "NetworkManager.service")


class Operation:
    """One step.  verb: mount, folder, node, link, mask, readonly, writable or write.

    target: path relative to the stage.  source: the mount's source, the link's text, the data to write.
    kind: file system type.  options: as in fstab; what is no flag goes to the file system.
    numbers: mode, or mode, major, minor.  optional: a failure is reported and skipped.
    option: the kernel option which is missing when it fails.
    """

    __slots__ = ("kind", "numbers", "option", "optional", "options", "source", "target", "verb")

    def __init__(
        self,
        verb: str,
        target: str,
        *,
        source: str = "",
        kind: str = "",
        options: str = "",
        numbers: tuple[int, ...] = (),
        optional: bool = False,
        option: str = "",
    ) -> None:
        self.verb = verb
        self.target = target
        self.source = source
        self.kind = kind
        self.options = options
        self.numbers = numbers
        self.optional = optional
        self.option = option

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def describe(self) -> str:
        """The step as a line that a person could type."""
        target = self.target
        if self.verb == "mount":
            options = f" -o {self.options}" if self.options else ""
            return f"mount -t {self.kind}{options} {self.source or self.kind} {target}"
        if self.verb == "node":
            mode, major, minor = self.numbers
            return f"mknod -m {mode:04o} {target} c {major} {minor}"
        if self.verb == "folder":
            return f"mkdir -m {self.numbers[0]:04o} {target}"
        return {
            "link": f"ln -s {self.source} {target}",
            "mask": f"mount -o bind /dev/null {target}",
            "readonly": f"mount -o bind,ro {target} {target}",
            "writable": f"mount -o bind,rw {target} {target}",
            "write": f"echo {self.source!r} > {target}",
        }[self.verb]


def pings(proc: str) -> Operation:
    """Let everybody ping.  proc: where it is mounted."""
    target = f"{proc}/sys/net/ipv4/ping_group_range"
    return Operation("write", target, source="0 2147483647", optional=True)


def assembly(
    *, own: Iterable[str], cgroup: int, controllers: Iterable[tuple[str, str]] = ()
) -> list[Operation]:
    """The steps that fill the stage.

    own: names of the namespaces that are the container's own ("pid", "net", ...).
    cgroup: version of the host's hierarchy, 0 for none; controllers: (folder, mount option) for version 1.
    """
    own = frozenset(own)
    steps = [_folder(name) for name in (ROOT, *MOVED)]
    steps += (
        _mount("proc", "proc", "nosuid,nodev,noexec"),
        _mount("sys", "sysfs", "ro,nosuid,nodev,noexec", optional=True, option="SYSFS"),
    )
    if cgroup == 2:
        steps.append(
            _mount("sys/fs/cgroup", "cgroup2", "nosuid,nodev,noexec", optional=True, option="CGROUPS")
        )
    elif cgroup == 1:
        steps.append(_mount("sys/fs/cgroup", "tmpfs", "nosuid,nodev,noexec,mode=755", optional=True))
        for folder, option in controllers:
            place = f"sys/fs/cgroup/{folder}"
            steps.append(Operation("folder", place, numbers=(0o755,), optional=True))
            steps.append(_mount(place, "cgroup", f"nosuid,nodev,noexec,{option}", optional=True))
    steps += (
        _mount("tmp", "tmpfs", "nosuid,nodev,noatime,mode=1777"),
        _mount("run", "tmpfs", "nosuid,nodev,mode=755"),
        _mount("dev", "tmpfs", "nosuid,noexec,strictatime,mode=755"),
        _folder("dev/pts"),
        _folder("dev/shm"),
        _folder("dev/mqueue"),
        _folder("dev/net"),
        _mount("dev/shm", "tmpfs", "nosuid,nodev,noexec,mode=1777,size=524288k"),
    )
    if "ipc" in own:
        steps.append(
            _mount("dev/mqueue", "mqueue", "nosuid,nodev,noexec", optional=True, option="POSIX_MQUEUE")
        )
    steps.append(_mount("dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"))
    steps += [Operation("node", f"dev/{name}", numbers=(mode, *device)) for name, mode, *device in NODES]
    steps += [Operation("link", f"dev/{name}", source=text) for name, text in LINKS]
    if "net" in own:
        # A new network namespace lets nobody ping who is not root (facts: quirks).
        steps.append(pings("proc"))
    steps += [Operation("mask", path) for path in MASKED]
    steps += [Operation("readonly", path) for path in READ_ONLY]
    steps += [Operation("writable", path) for name, path in OWN_SYSCTL if name in own]
    return steps


def masked_units(network: str) -> tuple[str, ...]:
    """The units to mask in a rootfs with systemd; network as in RunSpec."""
    return MASKED_UNITS + MASKED_NETWORK_UNITS if network == "host" else MASKED_UNITS


def _folder(path: str) -> Operation:
    return Operation("folder", path, numbers=(0o755,))


def _mount(target: str, kind: str, options: str, *, optional: bool = False, option: str = "") -> Operation:
    return Operation("mount", target, kind=kind, options=options, optional=optional, option=option)
