"""Puts a virtual phone together: a kernel, its initramfs, and the images of its disks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import poor_kernel
from tests.support.command import check
from tests.support.phone import tree
from tests.support.phone.vm import Hardware
from tests.support.phone.vm_filter import launcher
from tests.support.phone.vm_image import Entry, file, folder, make_ext4, size_of, write_initramfs
from tests.support.phone.vm_kernel import MACHINE, Kernel, kernel

SCRIPTS = Path(__file__).with_name("vm")

#: What qemu's user network gives to its one machine.
NETWORK = ("fake.address=10.0.2.15/24", "fake.gateway=10.0.2.2", "fake.dns=10.0.2.3")

#: Of the policy's binary form: what both kernels read (Linux 4.13 and later).
POLICY_VERSION = "31"

#: Linux 4.19 and earlier end before system call 424.
LINUX_4_19 = 424


def assemble(
    place: Path,
    version: str,
    manager: str,
    *,
    files: Mapping[str, Path],
    without_modules: Sequence[str] = (),
    without_namespaces: Sequence[str] = (),
    older_than: int = 0,
    selinux: bool = False,
    userdata: int = 1536,
    arguments: Sequence[str] = (),
) -> Hardware:
    """Make a phone's disks in a folder.

    version: of the kernel, "5.10" or "6.1". manager: "magisk", "ksu" or "apatch", which rooted it.
    files: what its third disk holds, by name; it stands for downloads.
    without_modules, without_namespaces, older_than: what its kernel lacks.
    selinux: whether it is enforced, with vm/policy.cil. userdata: megabytes of /data.
    """
    root = tree.build("arm64")
    chosen = kernel(version)
    entries = _initramfs(chosen, root, without_modules)
    if without_namespaces or older_than:
        code = poor_kernel.program(older_than=older_than, without=without_namespaces, machine="aarch64")
        entries.append(file("filter", launcher(code), 0o755))
    if selinux:
        policy = place / "policy"
        check(["secilc", "-c", POLICY_VERSION, "-f", "/dev/null", "-o", policy, SCRIPTS / "policy.cil"])
        entries.append(file("policy", policy.read_bytes()))
    write_initramfs(place / "initramfs", entries)
    make_ext4(place / "system.img", size_of(root), root, journal=False)
    make_ext4(place / "userdata.img", userdata)
    media = place / "media"
    media.mkdir()
    for name, path in files.items():
        shutil.copy2(path, media / name)
    make_ext4(place / "media.img", size_of(media), media, journal=False)
    shutil.rmtree(media)
    security = ("security=selinux", "selinux=1") if selinux else ("selinux=0",)
    return Hardware(
        kernel=chosen.image,
        initramfs=place / "initramfs",
        system=place / "system.img",
        userdata=place / "userdata.img",
        media=place / "media.img",
        arguments=(*security, f"fake.root={manager}", *NETWORK, *arguments),
    )


def _initramfs(chosen: Kernel, root: Path, without: Sequence[str]) -> list[Entry]:
    order = list(dict.fromkeys((*chosen.load_order(MACHINE), *chosen.phone_order(without))))
    scripts = ("agent", "init", "relay", "start")
    return [
        *(folder(name) for name in ("bin", "dev", "modules", "newroot", "proc", "sys")),
        file("bin/busybox", (root / "system/fake/busybox").read_bytes(), 0o755),
        *(file(name, (SCRIPTS / f"{name}.sh").read_bytes(), 0o755) for name in scripts),
        file("order", "".join(f"{name}\n" for name in order).encode()),
        *(file(f"modules/{name}.ko", chosen.module(name).read_bytes()) for name in order),
    ]
