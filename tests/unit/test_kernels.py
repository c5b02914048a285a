"""The kernels of the tests' virtual phone: which are pinned, and how their parts are put together."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.phone import vm_image
from tests.support.phone.vm_kernel import Kernel, depends
from tools.kernels import KERNELS, newest_of, pinned_kernels
from tools.process import BuildError


def test_every_kernel_is_pinned() -> None:
    pins = pinned_kernels()
    assert list(pins) == list(KERNELS)
    assert all(pin.architecture == "arm64" and version in pin.place for version, pin in pins.items())


def test_the_newest_that_is_for_everybody() -> None:
    names = [
        "linux-image-6.1.0-9-arm64",
        "linux-image-6.1.0-50-arm64",
        "linux-image-6.1.0-51-cloud-arm64",
        "linux-image-6.1.0-52-arm64-dbg",
        "linux-image-6.1.0-53-arm64-unsigned",
        "linux-image-6.10.0-99-arm64",
    ]
    assert newest_of("6.1", names) == "linux-image-6.1.0-50-arm64"
    with pytest.raises(BuildError, match=r"no Linux 5\.10"):
        newest_of("5.10", names)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel whose modules say only what they need."""
    (tmp_path / "modules").mkdir()
    for name, needs in {
        "loop": "",
        "bridge": "stp,llc",
        "stp": "llc",
        "llc": "",
        "br_netfilter": "bridge",
    }.items():
        text = b"license=GPL\0depends=" + needs.encode() + b"\0name=" + name.encode() + b"\0"
        (tmp_path / "modules" / f"{name}.ko").write_bytes(b"\x7fELF\0" + text)
    (tmp_path / "builtin").write_text("ipv6\n")
    return Kernel(release="6.1.0-1-arm64", folder=tmp_path)


def test_modules_come_after_what_they_need(kernel: Kernel) -> None:
    assert kernel.load_order(["br_netfilter", "ipv6", "loop"]) == [
        "llc",
        "stp",
        "bridge",
        "br_netfilter",
        "loop",
    ]


def test_a_module_that_others_need_cannot_be_left_out(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.phone.vm_kernel.PHONE", ("loop", "bridge", "br_netfilter"))
    assert kernel.phone_order(["bridge", "br_netfilter"]) == ["loop"]
    with pytest.raises(ValueError, match="bridge cannot be left out"):
        kernel.phone_order(["bridge"])


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        (b"\0depends=\0", []),
        (b"\0depends=a,b-c\0", ["a", "b-c"]),
        (b"nothing", []),
        (b"\0softdepends=x\0", []),
    ],
)
def test_what_a_module_needs(module: bytes, needs: list[str]) -> None:
    assert depends(module) == needs


def test_an_initramfs_that_others_can_read(tmp_path: Path) -> None:
    entries = [
        vm_image.folder("bin"),
        vm_image.file("bin/tool", b"#!/bin/sh\n", 0o755),
        vm_image.file("odd", b"12345"),
        vm_image.file("empty", b""),
    ]
    archive = vm_image.cpio(entries)
    subprocess.run(["busybox", "cpio", "-idm"], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "odd").read_bytes() == b"12345"
    assert (tmp_path / "empty").read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "empty", "odd"]
