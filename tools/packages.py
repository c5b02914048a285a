"""Debian packages that this machine needs for a command: the table, and their installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tools.process import BuildError, execute, say


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Debian package. program: what proves that it is there (it may come from elsewhere)."""

    name: str
    program: str
    purpose: str
    commands: tuple[str, ...]


PACKAGES = tuple(
    Package(name=name, program=program, purpose=purpose, commands=tuple(commands.split()))
    for name, program, purpose, commands in (
        (
            "busybox-static",
            "busybox",
            "checks scripts, and is in the tests' smallest rootfs",
            "test lint bench",
        ),
        ("dash", "dash", "checks scripts", "test lint bench"),
        ("git", "git", "lists the files to check", "test lint"),
        ("mksh", "mksh", "checks scripts: it is Android's shell", "test lint"),
        ("nodejs", "node", "runs the page's checkers", "test lint"),
        ("npm", "npm", "installs the page's checkers", "test lint"),
        ("shellcheck", "shellcheck", "checks scripts", "test lint"),
        ("binutils", "readelf", "looks at the bundle's programs and libraries", "test"),
        ("chromium", "chromium", "shows the page to the tests", "test"),
        ("bind9-dnsutils", "dig", "asks the forwarder of names in tests", "test"),
        ("conntrack", "conntrack", "looks at connections that are tracked", "test"),
        ("curl", "curl", "talks to the page in tests", "test bench"),
        ("dnsmasq-base", "dnsmasq", "is the name server behind the forwarder in tests", "test"),
        ("iperf3", "iperf3", "measures networks", "test bench"),
        ("iproute2", "ip", "looks at networks from outside", "test bench"),
        ("iptables", "iptables-restore", "sets the containers' firewall", "run test bench"),
        ("docker-registry", "docker-registry", "is the tests' registry of images", "test"),
        ("e2fsprogs", "mkfs.ext4", "makes the disks of the tests' phones", "test bench"),
        ("libcap2-bin", "setcap", "sets and tells capabilities of files in tests", "test"),
        ("mmdebstrap", "mmdebstrap", "builds the tests' Debian", "test bench"),
        ("openssl", "openssl", "hashes passwords, to compare", "test"),
        ("procps", "ps", "looks at processes from outside", "test bench"),
        ("qemu-system-arm", "qemu-system-aarch64", "is the tests' arm64 phone", "test"),
        ("secilc", "secilc", "compiles the SELinux policy of the tests' phone", "test"),
        ("strace", "strace", "counts what a start does", "test bench"),
        ("tcpdump", "tcpdump", "looks at packets from outside", "test"),
        ("tmux", "tmux", "is a real terminal", "test"),
        ("umoci", "umoci", "unpacks images of registries, to compare", "test"),
        ("util-linux", "nsenter", "looks at mounts and namespaces from outside", "test bench"),
        ("unzip", "unzip", "reads the zips of the module", "test"),
        ("xz-utils", "xz", "packs the tests' tarballs", "test bench"),
        ("zstd", "zstd", "packs the tests' tarballs", "test"),
        ("bubblewrap", "bwrap", "is compared with", "test bench"),
        ("crun", "crun", "is compared with", "test bench"),
        ("lxc", "lxc-execute", "is compared with", "bench"),
        ("runc", "runc", "is compared with", "bench"),
        ("systemd-container", "systemd-nspawn", "is compared with", "bench"),
    )
)


def missing_packages(command: str, which: Callable[[str], str | None] = shutil.which) -> list[Package]:
    """What a command needs and this machine lacks."""
    return [package for package in PACKAGES if command in package.commands and not which(package.program)]


def install_packages(names: Mapping[str, str]) -> None:
    """Install Debian packages, each with its purpose. Raises BuildError without root or apt."""
    if not names:
        return
    line = f"apt-get install --no-install-recommends {' '.join(names)}"
    if not shutil.which("apt-get"):
        wanted = ", ".join(f"{name} ({why})" for name, why in names.items())
        raise BuildError(f"this machine has no apt-get, and misses: {wanted}", "Install them by hand.")
    if os.geteuid() != 0:
        raise BuildError(f"root is needed to install: {', '.join(names)}", f"As root, run: {line}")
    for name, why in names.items():
        say(f"installing Debian's {name}: {why}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        execute("apt-get", "update", "-qq", env=env)
    except BuildError as error:
        # A broken third-party source must not stop us: what we need is in Debian's own.
        say(f"{error}; going on with the lists that are there")
    words = ("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *names)
    execute(*words, env=env, output=subprocess.DEVNULL)
