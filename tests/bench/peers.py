"""The other runtimes, each told to make the same container as far as it can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "xterm-256color",
    "container": "nspawn",
}
MASKED = (
    "/proc/asound",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/kmsg",
    "/sys/firmware",
    "/sys/power",
    "/sys/class/drm",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger")
_SECURE = ["nosuid", "nodev", "noexec"]
_NODES = (("fuse", 10, 229), ("net/tun", 10, 200))  # what no peer makes by itself

#: linux/capability.h, in the order of the bits.
# fmt: off
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK",
    "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN",
    "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE",
    "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One runtime: how it is called, what it is, and what it makes less or more than nspawn.

    argv and cwd: of a start of /bin/true; probe: of a start of any other command (a list that follows
    the same options); differs: sentences for the table.
    """

    name: str
    program: str
    package: str
    version: str
    argv: Sequence[str]
    probe: Sequence[str]
    differs: str
    environ: Mapping[str, str] = field(default_factory=lambda: dict(ENVIRON))


def find(program: str) -> str:
    """The absolute path of a program, or "" when it is not installed."""
    return shutil.which(program, path=ENVIRON["PATH"]) or ""


def package_version(package: str) -> str:
    """The version of an installed Debian package, or "not installed"."""
    run = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
    )
    return run.stdout.strip() if run.returncode == 0 and run.stdout.strip() else "not installed"


def all_peers(rootfs: Path, folder: Path) -> list[Peer]:
    """Every peer, with its configuration written below `folder`."""
    return [
        _oci("crun", rootfs, folder, []),
        _oci("runc", rootfs, folder, []),
        _bwrap(rootfs, few=False),
        _bwrap(rootfs, few=True),
        _systemd_nspawn(rootfs),
        _lxc(rootfs, folder),
    ]


def networked(rootfs: Path, folder: Path, bridge: str, prefix4: str, prefix6: str) -> list[Peer]:
    """The peers that make a network themselves, each with a veth in `bridge`.

    prefix4: the bridge's IPv4 network without its last number, a /24; prefix6: that of its IPv6 /64.
    """
    wires = [
        "lxc.net.0.type = veth",
        f"lxc.net.0.link = {bridge}",
        "lxc.net.0.name = eth0",
        "lxc.net.0.flags = up",
        f"lxc.net.0.ipv4.address = {prefix4}.77/24",
        f"lxc.net.0.ipv4.gateway = {prefix4}.1",
        f"lxc.net.0.ipv6.address = {prefix6}77/64",
        f"lxc.net.0.ipv6.gateway = {prefix6}1",
    ]
    return [
        _lxc(
            rootfs,
            folder,
            wires,
            "veth in a bridge, one address and route of each family; lxc-init is PID 1; no time namespace",
        ),
        _systemd_nspawn(
            rootfs,
            [f"--network-bridge={bridge}"],
            "veth in a bridge, no address and no route; its own masks and a seccomp filter",
        ),
    ]


def _oci(name: str, rootfs: Path, folder: Path, extra: list[str]) -> Peer:
    def bundle(title: str, args: list[str]) -> str:
        place = folder / name / title
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(oci_config(rootfs, args), indent=1))
        return str(place)

    program = find(name)
    start = [program, "--root", str(folder / name / "state"), *extra, "run", "--bundle"]
    command = ["/bin/cat", "/proc/self/mountinfo"]
    return Peer(
        name=name,
        program=program,
        package=name,
        version=package_version(name),
        argv=[*start, bundle("true", ["/bin/true"]), f"bench-{name}"],
        probe=[*start, bundle("probe", command), f"bench-{name}-probe"],
        differs="no time namespace; writes no /etc/hostname and /etc/hosts",
    )


def oci_config(rootfs: Path, args: list[str]) -> dict[str, object]:
    """config.json of the OCI runtime specification 1.0: the mounts, nodes and masks of nspawn."""
    mounts: list[dict[str, object]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _SECURE},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_SECURE, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": _SECURE},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
        {
            "destination": "/run",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=755"],
        },
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*_SECURE, "mode=1777", "size=512m"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _SECURE},
    ]
    every = sorted(f"CAP_{name}" for name in _capabilities())
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "cwd": "/root",
            "env": [f"{key}={value}" for key, value in ENVIRON.items()],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), every),
        },
        "root": {"path": str(rootfs), "readonly": False},
        "hostname": rootfs.name,
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")],
            "devices": [
                {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
                for name, major, minor in _NODES
            ],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def _capabilities() -> list[str]:
    """All that this machine grants: the container of nspawn keeps them, and crun takes no others."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        bounding = next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))
    return [name for bit, name in enumerate(_CAPABILITIES) if bounding >> bit & 1]


def _bwrap(rootfs: Path, *, few: bool) -> Peer:
    """bubblewrap; few: without the masks and the mounts that its callers seldom ask for."""
    program = find("bwrap")
    options = ["--bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    options += ["--tmpfs", "/run", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]
    options += ["--hostname", rootfs.name, "--chdir", "/root", "--cap-add", "ALL", "--as-pid-1"]
    if not few:
        options += ["--ro-bind", "/sys", "/sys", "--bind", "/sys/fs/cgroup", "/sys/fs/cgroup"]
        options += ["--perms", "1777", "--size", str(512 << 20), "--tmpfs", "/dev/shm"]
        options += ["--mqueue", "/dev/mqueue"]
        for node, _major, _minor in _NODES:
            if os.path.exists(f"/dev/{node}"):
                options += ["--dev-bind", f"/dev/{node}", f"/dev/{node}"]
        for path in filter(os.path.exists, MASKED):
            if os.path.isdir(path):
                options += ["--tmpfs", path, "--remount-ro", path]
            else:
                options += ["--ro-bind", "/dev/null", path]
        for path in filter(os.path.exists, READ_ONLY):
            options += ["--ro-bind", path, path]
    less = "no cgroup of its own, no time namespace, nodes bound from the host, old /etc/hostname"
    if few:
        less += "; also no /sys, cgroup2, mqueue, masks and read-only paths"
    else:
        less += "; /sys and the read-only paths are the host's, bound"
    return Peer(
        name="bwrap, few mounts" if few else "bwrap",
        program=program,
        package="bubblewrap",
        version=package_version("bubblewrap"),
        argv=[program, *options, "/bin/true"],
        probe=[program, *options, "/bin/cat", "/proc/self/mountinfo"],
        differs=less,
    )


def _systemd_nspawn(rootfs: Path, more: Sequence[str] = (), differs: str = "") -> Peer:
    program = find("systemd-nspawn")
    options = ["--quiet", "--register=no", "--keep-unit", f"--directory={rootfs}", "--pipe"]
    options += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--capability=all"]
    options += [f"--hostname={rootfs.name}", f"--machine=bench-{rootfs.name}", "--chdir=/root", *more]
    return Peer(
        name="systemd-nspawn",
        program=program,
        package="systemd-container",
        version=package_version("systemd-container"),
        argv=[program, *options, "--", "/bin/true"],
        probe=[program, *options, "--", "/bin/cat", "/proc/self/mountinfo"],
        differs=differs
        or "its own masks and a seccomp filter; no time namespace; not registered (no systemd here)",
    )


def _lxc(
    rootfs: Path, folder: Path, net: Sequence[str] = ("lxc.net.0.type = none",), differs: str = ""
) -> Peer:
    program = find("lxc-execute")
    shm = "nosuid,nodev,noexec,create=dir,mode=1777,size=512m"
    lines = [
        f"lxc.rootfs.path = dir:{rootfs}",
        f"lxc.uts.name = {rootfs.name}",
        *net,
        "lxc.apparmor.profile = unconfined",
        "lxc.mount.auto = proc:rw sys:ro cgroup:rw",
        "lxc.autodev = 1",
        "lxc.pty.max = 16",
        "lxc.tty.max = 0",
        "lxc.mount.entry = tmpfs tmp tmpfs nosuid,nodev 0 0",
        "lxc.mount.entry = tmpfs run tmpfs nosuid,nodev,mode=755 0 0",
        f"lxc.mount.entry = shm dev/shm tmpfs {shm} 0 0",
        "lxc.mount.entry = mqueue dev/mqueue mqueue nosuid,nodev,noexec,create=dir 0 0",
    ]
    lines += [
        f"lxc.mount.entry = /dev/{node} dev/{node} none bind,create=file 0 0"
        for node, _major, _minor in _NODES
        if os.path.exists(f"/dev/{node}")
    ]
    for path in filter(os.path.exists, MASKED):
        inside = path.lstrip("/")
        if os.path.isdir(path):
            lines.append(f"lxc.mount.entry = tmpfs {inside} tmpfs ro,nosuid,nodev,noexec,size=0 0 0")
        else:
            lines.append(f"lxc.mount.entry = /dev/null {inside} none bind 0 0")
    lines += [
        f"lxc.mount.entry = {path} {path.lstrip('/')} none bind,ro 0 0"
        for path in filter(os.path.exists, READ_ONLY)
    ]
    lines += [f"lxc.environment = {key}={value}" for key, value in ENVIRON.items()]
    place = folder / "lxc"
    place.mkdir(parents=True)
    (place / "config").write_text("\n".join(lines) + "\n")
    options = ["--lxcpath", str(place), "--rcfile", str(place / "config")]
    return Peer(
        name="lxc-execute",
        program=program,
        package="lxc",
        version=package_version("lxc"),
        argv=[program, *options, "--name", "bench-lxc", "--", "/bin/true"],
        probe=[program, *options, "--name", "bench-lxc-probe", "--", "/bin/cat", "/proc/self/mountinfo"],
        differs=differs or "lxc-init is PID 1; no time namespace; read-only paths are the host's, bound",
    )
