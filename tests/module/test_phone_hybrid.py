"""The arm64 zip, on this machine: an arm64 phone whose programs qemu-user carries.

No containers here: qemu-user cannot clone into namespaces (that is for the virtual machine).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.module.conftest import NewPhone
from tests.support.phone import hybrid, release
from tests.support.phone.server import STATE, Server

pytestmark = [pytest.mark.phone, pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def arm64(needs_root: None) -> Iterator[None]:
    with hybrid.arm64_runs():
        yield


def test_arm64_zip(arm64: None, new_phone: NewPhone) -> None:
    phone = new_phone("ksu", architecture="arm64")
    server = Server(phone)
    phone.boot()
    phone.wait_boot_completed(60)
    assert phone.sh("uname -m; getprop ro.product.cpu.abi").lines == ["aarch64", "arm64-v8a"]
    wrong = phone.flash(release.build("amd64"), must=False)
    assert wrong.status == 1
    assert "This zip is for x86_64, but this phone is arm64." in wrong.out
    said = phone.flash(release.build("arm64"), timeout=120)
    assert "does not start on this phone" not in said.out

    phone.reboot()
    phone.wait_boot_completed(60)
    assert server.wait_page(60, "/")[1] == 200
    server.nspawn("create box --image builtin")
    assert (
        phone.sh(f"head -c 20 {STATE}/containers/box/rootfs/bin/busybox | od -An -tx1").out.split()[18]
        == "b7"
    )
    assert [each["name"] for each in server.json("list --json")] == ["box"]
