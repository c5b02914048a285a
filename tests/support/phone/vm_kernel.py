"""A Debian kernel for the virtual phone: its image, and the modules that a phone's kernel has built in."""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import places
from tools.deb import data_of_deb
from tools.debian import Pin, download_pinned
from tools.kernels import pinned_kernels

#: What reaches the disks, the network and the shell of the virtual machine.
MACHINE = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "crc32c_generic", "ext4")

#: What phones have. Leaving one out models a kernel without the option.
PHONE = (
    *("loop", "tun", "veth", "bridge", "br_netfilter", "overlay", "fuse"),
    *("iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw"),
    *("ip6table_filter", "ip6table_nat", "ip6table_mangle", "ip6table_raw"),
    *("xt_MASQUERADE", "xt_conntrack", "xt_addrtype", "xt_comment", "xt_mark", "xt_nat", "xt_owner"),
    *("xt_tcpudp", "xt_TCPMSS"),
)

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """An unpacked kernel. release: as `uname -r` tells; folder: has vmlinuz, builtin, modules/NAME.ko."""

    release: str
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    def module(self, name: str) -> Path:
        return self.folder / "modules" / f"{name}.ko"

    def load_order(self, names: Iterable[str]) -> list[str]:
        """These modules and what they need, each after what it needs."""
        builtin = set((self.folder / "builtin").read_text().split())
        order: list[str] = []

        def visit(name: str) -> None:
            if name in builtin or name in order:
                return
            for needed in map(plain, depends(self.module(name).read_bytes())):
                visit(needed)
            order.append(name)

        for name in names:
            visit(name)
        return order

    def phone_order(self, without: Sequence[str]) -> list[str]:
        """The phone's modules without some. Raises ValueError when another one would bring them back."""
        order = self.load_order(name for name in PHONE if name not in without)
        for name in without:
            if name in order:
                raise ValueError(f"{name} cannot be left out: another module needs it")
        return order


def kernel(version: str) -> Kernel:
    """The pinned kernel of a version ("6.1"): downloaded once, unpacked once. Raises BuildError."""
    pin = pinned_kernels()[version]
    folder = places.CACHE / "phone" / "kernels" / f"{version}-{pin.sha256[:12]}"
    if not (folder / "release").exists():
        _unpack(pin, folder)
    return Kernel(release=(folder / "release").read_text().strip(), folder=folder)


def depends(module: bytes) -> list[str]:
    """What a module says that it needs (modinfo -F depends), by the names of its files."""
    found = _DEPENDS.search(module)
    return [word for word in found[1].decode().split(",") if word] if found else []


def plain(name: str) -> str:
    """A module's name from its file: the kernel takes - for _."""
    return name.removesuffix(".xz").removesuffix(".ko").replace("-", "_")


def _unpack(pin: Pin, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "modules").mkdir(parents=True)
    with data_of_deb(download_pinned(pin)) as archive:
        members = {member.name.removeprefix("./"): member for member in archive.getmembers()}

        def content(name: str) -> bytes:
            file = archive.extractfile(members[name])
            assert file is not None, name
            data = file.read()
            return lzma.decompress(data) if name.endswith(".xz") else data

        image = next(name for name in members if name.startswith("boot/vmlinuz-"))
        files = {plain(Path(name).name): name for name in members if name.endswith((".ko", ".ko.xz"))}
        listed = next(name for name in members if name.endswith("/modules.builtin"))
        builtin = {plain(Path(line).name) for line in content(listed).decode().split()}
        waiting = [name for name in (*MACHINE, *PHONE) if name not in builtin]
        while waiting:
            name = waiting.pop()
            path = part / "modules" / f"{name}.ko"
            if not path.exists():
                data = content(files[name])
                path.write_bytes(data)
                waiting += [plain(needed) for needed in depends(data)]
        (part / "builtin").write_text("\n".join(sorted(builtin)))
        (part / "vmlinuz").write_bytes(content(image))
        (part / "release").write_text(image.removeprefix("boot/vmlinuz-"))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
