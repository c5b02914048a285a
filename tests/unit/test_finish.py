"""The steps after unpacking: on plain trees, on a Debian, on trees that were made to do harm."""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import UsageError
from nspawn.images import sha512crypt
from nspawn.images.finish import finish, renew_machine_id
from nspawn.images.steps_accounts import make_password
from nspawn.layout import Layout
from nspawn.model import finish as model
from nspawn.model.finish import STEPS, Finished, FinishWish, HostFacts
from nspawn.service import finishing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners are set")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvTzwDWVqQ0mcDx0zSn0CDAJdBDGqjPZWLWyJdHQ4Xh me@phone"
FACTS = HostFacts(groups=True, resolv="nameserver 192.0.2.1\n", timezone="Europe/Berlin", locale="de_DE")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small system with systemd, as a distribution's image is."""
    root = tmp_path / "inside/rootfs"
    for name in ("etc/default", "root", "usr/lib/systemd", "usr/share/zoneinfo/Europe", "usr/lib/locale"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
        "debian:x:1000:1000:,,,:/home/debian:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"
    )
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:!:19000:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o640)
    os.chown(root / "etc/shadow", 0, 42)
    (root / "etc/group").write_text("root:x:0:\nshadow:x:42:\ndebian:x:1000:\n")
    (root / "etc/gshadow").write_text("root:*::\nshadow:*::\n")
    (root / "etc/debian_version").write_text("13\n")
    (root / "etc/adduser.conf").write_text('#EXTRA_GROUPS="users"\nDSHELL=/bin/bash\n')
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (root / "etc/machine-id").write_text("")
    (root / "usr/lib/systemd/systemd").write_text("")
    (root / "usr/share/zoneinfo/Europe/Berlin").write_text("TZif")
    return root


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "kept").write_text("kept")
    before = (tmp_path / "kept").stat()
    yield
    after = (tmp_path / "kept").stat()
    assert (tmp_path / "kept").read_text() == "kept"
    assert (after.st_nlink, after.st_mode, after.st_uid) == (before.st_nlink, before.st_mode, before.st_uid)
    assert {path.name for path in tmp_path.iterdir()} <= {"kept", "inside", "root"}


def run(tree: Path, wish: FinishWish | None = None, facts: HostFacts = FACTS) -> Finished:
    return finish(str(tree), wish or FinishWish(), facts, lambda _step: None)


def test_everything_on_a_plain_tree(tree: Path) -> None:
    done = run(tree, FinishWish(ssh_keys=(KEY,)))
    assert done.notes == ()
    assert dict(done.steps) == dict.fromkeys(STEPS, "done")
    assert (tree / "etc/resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    assert not (tree / "etc/resolv.conf").is_symlink()
    keys = tree / "root/.ssh/authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (keys, keys.parent)] == [0o600, 0o700]
    machine_id = (tree / "etc/machine-id").read_text()
    assert re.fullmatch("[0-9a-f]{32}\n", machine_id)
    assert "ReadKMsg=no" in (tree / "etc/systemd/journald.conf.d/nspawn.conf").read_text()
    assert "HandlePowerKey=ignore" in (tree / "etc/systemd/logind.conf.d/nspawn.conf").read_text()
    assert os.readlink(tree / "etc/localtime") == "../usr/share/zoneinfo/Europe/Berlin"
    assert (tree / "etc/timezone").read_text() == "Europe/Berlin\n"
    assert (tree / "etc/default/locale").read_text() == "LANG=C.UTF-8\n"
    run(tree)
    assert (tree / "etc/machine-id").read_text() != machine_id


@pytest.mark.parametrize("name", STEPS)
def test_each_step_can_be_left_out(tree: Path, name: str) -> None:
    def look() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.lstat().st_ino, b"" if path.is_symlink() else path.read_bytes())
            for path in tree.rglob("*")
            if path.is_symlink() or path.is_file()
        }

    before = look()
    done = run(tree, FinishWish(ssh_keys=(KEY,), skip=frozenset(STEPS) - {name}))
    outcomes = dict(done.steps)
    assert outcomes.pop(name) == "done"
    assert set(outcomes.values()) == {"off"}
    assert look() != before
    before = look()
    done = run(tree, FinishWish(ssh_keys=(KEY,), skip=frozenset(STEPS)))
    assert look() == before
    assert done.password is None


def shadow(tree: Path) -> list[str]:
    return (tree / "etc/shadow").read_text().splitlines()[0].split(":")


def openssl(password: str, salt: str) -> str:
    words = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    return (
        subprocess.run(words, input=password.encode(), capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )


def test_passwords(tree: Path) -> None:
    done = run(tree)
    assert done.password is not None
    assert re.fullmatch("([abcdefghjkmnpqrstuvwxyz2-9]{4}-){2}[abcdefghjkmnpqrstuvwxyz2-9]{4}", done.password)
    assert done.password not in str(done.as_dict())
    assert shadow(tree)[1] == openssl(done.password, shadow(tree)[1].split("$")[2])
    assert (tree / "etc/shadow").stat().st_gid == 42
    assert stat.S_IMODE((tree / "etc/shadow").stat().st_mode) == 0o640
    assert "debian:!:19000" in (tree / "etc/shadow").read_text()
    assert run(tree, FinishWish(password="grüße 1")).password is None
    assert shadow(tree)[1] == openssl("grüße 1", shadow(tree)[1].split("$")[2])
    assert run(tree, FinishWish(lock=True)).password is None
    assert shadow(tree)[1] == "*"
    assert len({make_password() for _ in range(100)}) == 100


def test_an_image_without_shadow(tree: Path) -> None:
    (tree / "etc/shadow").unlink()
    (tree / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\n")
    done = run(tree, FinishWish(password="secret"))
    assert shadow(tree)[1] == openssl("secret", shadow(tree)[1].split("$")[2])
    assert (tree / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\n"
    assert dict(done.steps)["password"] == "done"
    for name in ("passwd", "shadow"):
        (tree / "etc" / name).unlink()
    done = run(tree)
    assert done.password is None
    assert any("nobody can log in" in note for note in done.notes)
    assert not (tree / "etc/shadow").exists()


@pytest.mark.parametrize("line", ["shadow", "shadow:x", ":", "shadow:x:many:"])
def test_an_odd_line_among_the_groups_costs_nothing(tree: Path, line: str) -> None:
    (tree / "etc/group").write_text(f"{line}\nroot:x:0:\n")
    done = run(tree)
    assert dict(done.steps)["password"] == "done", done.notes
    assert done.password


@pytest.mark.parametrize("password", ["x", "a" * 64, "b" * 65, "ü" * 100, "Hello world!"])
def test_the_hash_is_that_of_others(password: str) -> None:
    for salt in ("saltstring", "ab", "./0123456789ABCD"):
        assert sha512crypt.crypt(password, salt) == openssl(password, salt)


def test_groups_of_androids_kernels(tree: Path) -> None:
    run(tree)
    groups = (tree / "etc/group").read_text().splitlines()
    assert groups[-3:] == [
        "inet:x:3003:root,debian",
        "net_raw:x:3004:root,debian",
        "net_admin:x:3005:root,debian",
    ]
    assert "_apt:x:42:3003:" in (tree / "etc/passwd").read_text()
    assert "inet:!::root,debian" in (tree / "etc/gshadow").read_text()
    conf = (tree / "etc/adduser.conf").read_text()
    assert 'EXTRA_GROUPS="users inet net_raw"\n' in conf
    assert "ADD_EXTRA_GROUPS=1" in conf
    text = [(tree / name).read_text() for name in ("etc/group", "etc/passwd", "etc/adduser.conf")]
    run(tree)
    assert [(tree / name).read_text() for name in ("etc/group", "etc/passwd", "etc/adduser.conf")] == text


def test_groups_are_left_alone_on_other_kernels(tree: Path) -> None:
    before = (tree / "etc/group").read_text()
    done = run(tree, facts=HostFacts())
    assert (tree / "etc/group").read_text() == before
    assert dict(done.steps)["groups"] == "unneeded"


def test_taken_names_and_numbers_of_groups(tree: Path) -> None:
    (tree / "etc/group").write_text("root:x:0:\ninet:x:7:\naid_raw:x:3004:bob\n")
    run(tree)
    assert (tree / "etc/group").read_text() == (
        "root:x:0:\ninet:x:7:\naid_raw:x:3004:bob,root,debian\n"
        "aid_inet:x:3003:root,debian\nnet_admin:x:3005:root,debian\n"
    )


def test_with_another_network_each_start_writes_resolv_conf(tree: Path) -> None:
    for mode in ("nat", "none"):
        assert dict(run(tree, FinishWish(network=mode)).steps)["resolv.conf"] == "unneeded"
        assert (tree / "etc/resolv.conf").is_symlink()


def test_an_image_without_systemd_gets_nothing_of_it(tree: Path) -> None:
    (tree / "usr/lib/systemd/systemd").unlink()
    (tree / "etc/machine-id").unlink()
    outcomes = dict(run(tree).steps)
    assert (outcomes["machine-id"], outcomes["systemd"]) == ("unneeded", "unneeded")
    assert not (tree / "etc/machine-id").exists()
    assert not (tree / "etc/systemd").exists()
    (tree / "etc/machine-id").write_text("1" * 32)
    run(tree)
    assert (tree / "etc/machine-id").read_text() != "1" * 32


def test_an_id_of_dbus_follows(tree: Path) -> None:
    (tree / "var/lib/dbus").mkdir(parents=True)
    (tree / "var/lib/dbus/machine-id").write_text("1" * 32)
    with_root = os.open(tree, os.O_PATH)
    assert renew_machine_id(with_root)
    os.close(with_root)
    assert (tree / "var/lib/dbus/machine-id").read_text() == (tree / "etc/machine-id").read_text()


@pytest.mark.parametrize("form", ["folder", "archive", "other archive"])
def test_the_language_where_the_image_has_it(tree: Path, form: str) -> None:
    if form == "folder":
        (tree / "usr/lib/locale/de_DE.utf8").mkdir()
    else:
        names = b"C.utf8\0de_DE.utf8\0" if form == "archive" else b"xde_DE.utf8\0de_DE.utf8x\0"
        head = struct.pack("<8I", 0xDE020109, 1, 32, 1, 1, 100, len(names), 500)
        (tree / "usr/lib/locale/locale-archive").write_bytes(head.ljust(100, b"\0") + names)
    (tree / "etc/default/locale").write_text("LC_TIME=en_GB.UTF-8\nLANG=\n")
    run(tree)
    expected = "C.UTF-8" if form == "other archive" else "de_DE.UTF-8"
    assert (tree / "etc/default/locale").read_text() == f"LC_TIME=en_GB.UTF-8\nLANG={expected}\n"


def test_a_language_that_the_image_has_chosen_stays(tree: Path) -> None:
    (tree / "etc/default/locale").write_text('LANG="fr_FR.UTF-8"\n')
    assert dict(run(tree).steps)["locale"] == "unneeded"
    assert (tree / "etc/default/locale").read_text() == 'LANG="fr_FR.UTF-8"\n'


def test_a_language_and_a_zone_that_are_asked_for(tree: Path) -> None:
    (tree / "etc/default/locale").write_text("LANG=fr_FR.UTF-8\n")
    (tree / "usr/lib/locale/en_GB.utf8").mkdir()
    (tree / "usr/share/zoneinfo/UTC").write_bytes(b"TZif")
    assert run(tree, FinishWish(locale="en_GB", timezone="UTC")).notes == ()
    assert (tree / "etc/default/locale").read_text() == "LANG=en_GB.UTF-8\n"
    assert os.readlink(tree / "etc/localtime") == "../usr/share/zoneinfo/UTC"
    done = run(tree, FinishWish(locale="ja_JP"))
    assert any("no language ja_JP" in note for note in done.notes)
    assert (tree / "etc/default/locale").read_text() == "LANG=en_GB.UTF-8\n"
    assert run(tree, FinishWish(locale="C")).notes == ()
    assert (tree / "etc/default/locale").read_text() == "LANG=C.UTF-8\n"


def test_a_language_where_nothing_says_it(tree: Path) -> None:
    (tree / "etc/default/locale").unlink(missing_ok=True)
    (tree / "etc/debian_version").unlink(missing_ok=True)
    (tree / "usr/lib/systemd/systemd").unlink(missing_ok=True)
    assert not any("language" in note for note in run(tree).notes)
    done = run(tree, FinishWish(locale="de_DE"))
    assert any("de_DE was not set" in note for note in done.notes)


def test_time_zones_that_are_none(tree: Path) -> None:
    for zone in ("../../../kept", "/etc/passwd", "Europe/../Berlin", "a\nb", "x" * 50):
        assert dict(run(tree, FinishWish(timezone=zone)).steps)["timezone"] == "failed"
        assert not (tree / "etc/localtime").is_symlink()
    done = run(tree, FinishWish(timezone="Mars/Olympus"))
    assert any("no time zone Mars/Olympus" in note for note in done.notes)


def test_keys_are_added_once(tree: Path) -> None:
    other = KEY.replace("me@phone", "other")
    (tree / "root/.ssh").mkdir(mode=0o777)
    os.chown(tree / "root/.ssh", 1000, 1000)
    (tree / "root/.ssh/authorized_keys").write_text(f"{other}\n")
    for _ in range(2):
        run(tree, FinishWish(ssh_keys=(KEY,)))
    assert (tree / "root/.ssh/authorized_keys").read_text() == f"{other}\n{KEY}\n"
    found = (tree / "root/.ssh").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o700)


TARGETS = (
    *("etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/resolv.conf", "etc/machine-id"),
    *("root/.ssh/authorized_keys", "etc/localtime", "etc/timezone", "etc/default/locale"),
    *("etc/adduser.conf", "etc/systemd/journald.conf.d/nspawn.conf", "root/.ssh", "root", "etc"),
)


@pytest.mark.parametrize("path", TARGETS)
@pytest.mark.parametrize("kind", ["absolute", "relative", "loop", "fifo", "device", "folder", "huge"])
def test_what_was_made_to_do_harm(tree: Path, tmp_path: Path, path: str, kind: str) -> None:
    """Whatever lies at a place: nothing outside changes, nothing hangs, the other steps go on."""
    place = tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        place.rename(tree / "moved")
    else:
        place.unlink(missing_ok=True)
    if kind == "absolute":
        place.symlink_to(tmp_path / "kept")
    elif kind == "relative":
        place.symlink_to("../" * 20 + str(tmp_path / "kept")[1:])
    elif kind == "loop":
        place.symlink_to(place.name)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        os.mknod(place, 0o020666, os.makedev(1, 5))
    elif kind == "folder":
        (place / "below").mkdir(parents=True)
    else:
        with place.open("wb") as file:
            file.truncate(1 << 40)
    done = run(tree, FinishWish(ssh_keys=(KEY,)))
    assert set(dict(done.steps).values()) <= {"done", "unneeded", "failed"}
    if path != "etc":
        assert dict(done.steps)["systemd"] == "done" or "systemd" in path
    assert not list(tree.rglob(".*.nspawn"))


def test_a_link_to_the_folders_of_the_host(tree: Path, tmp_path: Path) -> None:
    (tree / "root").rmdir()
    (tree / "root").symlink_to(tmp_path)
    (tree / "etc/systemd").mkdir()
    (tree / "etc/systemd/journald.conf.d").symlink_to(f"../../../../..{tmp_path}")
    run(tree, FinishWish(ssh_keys=(KEY,)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "kept"]
    assert (tree / f".{tmp_path}/.ssh/authorized_keys").exists()


def test_hard_links_are_not_written_through(tree: Path, tmp_path: Path) -> None:
    for name in ("etc/passwd", "etc/machine-id", "etc/timezone"):
        (tree / name).unlink(missing_ok=True)
        os.link(tmp_path / "kept", tree / name)
    run(tree)
    for name in ("etc/passwd", "etc/machine-id", "etc/timezone"):
        (tree / name).unlink()


def test_keys_are_checked() -> None:
    assert model.parse_keys(f"# mine\n\n{KEY}\n{KEY}\r\n") == (KEY,)
    for text, told in (
        ("", "no public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key"),
        ("ssh-ed25519 AAAA", "line 1"),
        (f"{KEY}\nssh-dss AAAA", "line 2"),
        (KEY.replace("ssh-ed25519 ", "ssh-rsa "), "damaged"),
        (f'command="reboot" {KEY}', "options are not taken"),
        (f"{KEY}\x07", "printed"),
        (KEY[:60], "line 1"),
    ):
        with pytest.raises(UsageError) as caught:
            model.parse_keys(text)
        assert told in str(caught.value), caught.value


def test_passwords_and_steps_are_checked() -> None:
    assert model.parse_password("a b") == "a b"
    for text in ("", "a\nb", "a" * 257, "\0"):
        with pytest.raises(UsageError):
            model.parse_password(text)
    assert model.parse_skip(["locale"]) == {"locale"}
    for value in (["x"], "locale", [1]):
        with pytest.raises(UsageError):
            model.parse_skip(value)


def test_what_a_phone_is_like(tmp_path: Path) -> None:
    phone = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "NSPAWN_PHONE": str(tmp_path / "inside")}
    props = {"persist.sys.timezone": "Asia/Tokyo", "persist.sys.locale": "zh-Hans-CN"}
    root = tmp_path / "root"
    root.mkdir()
    found = finishing.facts(Layout(str(root)), phone, lambda: props)
    assert (found.timezone, found.locale) == ("Asia/Tokyo", "zh_CN")
    assert "nameserver 1.1.1.1\n" in found.resolv
    (root / "config.toml").write_text('[network]\ndns = ["9.9.9.9"]\n')
    assert "nameserver 9.9.9.9\n" in finishing.facts(Layout(str(root)), phone, lambda: props).resolv
    assert finishing.locale({}, {"persist.sys.locale": "de-DE"}) == "de_DE"
    assert finishing.locale({"LANG": "en_GB.UTF-8"}, {}) == "en_GB"
    assert finishing.locale({"LANG": "C.UTF-8"}, {}) == ""


def test_what_this_machine_is_like(tmp_path: Path) -> None:
    (tmp_path / "inside/etc").mkdir(parents=True)
    (tmp_path / "inside/etc/resolv.conf").write_text(
        "# by hand\nnameserver 192.0.2.7\nsearch example.org\nsortlist 1.2.3.4\n"
    )
    (tmp_path / "inside/etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Paris")
    found = finishing.facts(Layout(str(tmp_path / "root")), {"NSPAWN_PHONE": str(tmp_path / "inside")})
    assert found.resolv.splitlines()[1:] == ["nameserver 192.0.2.7", "search example.org"]
    assert found.timezone == "Europe/Paris"
    assert not found.groups
