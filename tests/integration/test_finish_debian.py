"""The steps after unpacking, on a real Debian, judged by its own programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nspawn.images.finish import finish
from nspawn.model.finish import STEPS, FinishWish, HostFacts

pytestmark = pytest.mark.root

FACTS = HostFacts(groups=True, resolv="nameserver 192.0.2.1\n", timezone="Europe/Berlin", locale="de_DE")


def inside(tree: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["chroot", tree, *words], input=stdin, capture_output=True, timeout=60)


def fits(tree: Path, password: str) -> bool:
    """Whether PAM's own checker takes it for root's."""
    return not inside(tree, "unix_chkpwd", "root", "nullok", stdin=password.encode() + b"\0").returncode


def test_its_own_programs_agree(debian: Path) -> None:
    inside(debian, "useradd", "-m", "-u", "1000", "someone")
    done = finish(str(debian), FinishWish(), FACTS, lambda _step: None)
    assert set(dict(done.steps)) == set(STEPS)
    assert "failed" not in dict(done.steps).values()
    assert done.password is not None
    assert fits(debian, done.password)
    assert not fits(debian, done.password[:-1])
    for words in (("pwck", "-r", "-q"), ("grpck", "-r")):
        checked = inside(debian, *words)
        assert not checked.returncode, checked
    assert inside(debian, "id", "-Gn", "someone").stdout.split()[1:] == [b"inet", b"net_raw", b"net_admin"]
    assert inside(debian, "id", "-g", "_apt").stdout == b"3003\n"
    finish(str(debian), FinishWish(password="grüße aus Köln"), FACTS, lambda _step: None)
    assert fits(debian, "grüße aus Köln")
    finish(str(debian), FinishWish(lock=True), FACTS, lambda _step: None)
    assert inside(debian, "passwd", "-S", "root").stdout.split()[1] == b"L"
    assert not fits(debian, "")
