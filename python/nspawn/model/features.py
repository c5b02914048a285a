"""What containers want of a kernel, and what is missed without it.  No imports: a flash screen reads this."""

from __future__ import annotations

#: The oldest kernel that is supported.
OLDEST = (4, 19)

#: Namespaces by their name in /proc/self/ns: what their absence costs; in short, for a screen of 45 columns
#: ("" for what is not worth a line there).
NAMESPACES = {
    "mnt": ("Without it nothing can run.", "nothing can run"),
    "pid": (
        "Containers see the host's processes and have no process 1: a service manager cannot boot.",
        "no systemd or other init in containers",
    ),
    "ipc": ("Containers share System V memory and message queues with the host.", ""),
    "uts": ("Containers have the host's name.", "containers have the phone's name"),
    "cgroup": ("Containers see where their cgroup is on the host.", ""),
    "time": ("Containers have the host's uptime; nothing else changes.", ""),
    "net": ("Containers can use only the host's network.", "containers share the phone's network"),
}
REQUIRED = frozenset(("mnt",))

#: (name, kernel options that all are needed, cost, cost in short).
OPTIONS = (
    ("overlay", ("OVERLAY_FS",), "--ephemeral is not possible.", "no --ephemeral"),
    ("fuse", ("FUSE_FS",), "No sshfs, rclone or AppImage in containers.", "no sshfs, rclone"),
    ("tun", ("TUN",), "No VPN in containers.", "no VPN in containers"),
    ("loop", ("BLK_DEV_LOOP",), "Containers cannot mount disk images.", ""),
    ("veth", ("VETH", "BRIDGE"), "A network of their own cannot be joined to the host's.", "no own network"),
    (
        "nat",
        ("NF_NAT", "IP_NF_NAT"),
        "A network of their own cannot reach the internet.",
        "an own network has no internet",
    ),
    ("nat6", ("IP6_NF_NAT",), "A network of their own has the internet by IPv4 only.", ""),
    ("mqueue", ("POSIX_MQUEUE",), "No POSIX message queues in containers.", ""),
    ("sysvipc", ("SYSVIPC",), "No System V memory: PostgreSQL before 9.3, some X programs.", ""),
    (
        "user namespaces",
        ("USER_NS",),
        "Programs that lock themselves in (browsers, Flatpak, rootless Podman) lack that inside.",
        "",
    ),
    (
        "memory limit",
        ("MEMCG",),
        "The memory of containers cannot be limited, nor their end for want of it told.",
        "no memory limits",
    ),
    ("process limit", ("CGROUP_PIDS",), "The number of processes cannot be limited.", ""),
    ("processor limit", ("CFS_BANDWIDTH",), "Processor time cannot be capped.", ""),
    ("device rules", ("CGROUP_DEVICE",), "Access to devices is ruled by which nodes are in /dev only.", ""),
    ("binfmt", ("BINFMT_MISC",), "Programs of other processors cannot be run by qemu.", ""),
    ("seccomp", ("SECCOMP_FILTER",), "System calls cannot be filtered.", ""),
)

#: Files that exist with the feature, for kernels that do not tell their configuration.
SHOWN_BY = {
    "sysvipc": "/proc/sysvipc",
    "mqueue": "/proc/sys/fs/mqueue",
    "seccomp": "/proc/sys/kernel/seccomp",
    "tun": "/sys/class/misc/tun",
    "fuse": "/sys/class/misc/fuse",
    "loop": "/sys/class/block/loop0",
    "user namespaces": "/proc/self/ns/user",
}
#: Names in /proc/filesystems.
SHOWN_AS = {"overlay": "overlay", "fuse": "fuse", "mqueue": "mqueue", "binfmt": "binfmt_misc"}


def version(release: str) -> tuple[int, int]:
    """(6, 1) of `6.1.57-android14`; (0, 0) of what is no version."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def wrap(text: str, width: int, first: str = "", then: str = "") -> list[str]:
    """The text in lines of at most `width` columns; the first begins with `first`, others with `then`."""
    lines, line, empty = [], first, True
    for word in text.split():
        if not empty and len(line) + 1 + len(word) > width:
            lines.append(line)
            line, empty = then, True
        line += word if empty else f" {word}"
        empty = False
    return [*lines, line]
