"""`nspawn create --image`: from a file, a layout, a registry; what it runs, who gets in, what is left."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import registry as registries
from tests.support.daemon import Daemon
from tests.support.imagefiles import rootfs_xz
from tests.support.imagesite import serve
from tests.support.ociimages import Layout, docker_save, entry, folder, tar
from tests.support.program import Program

KEY = "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " me@here"


@pytest.fixture(scope="module")
def archive(busybox_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "small.tar.xz"
    path.write_bytes(rootfs_xz(busybox_base))
    return path


@pytest.fixture(scope="module")
def layers(busybox_base: Path) -> list[bytes]:
    program = (busybox_base / "bin/busybox").read_bytes()
    first = tar(
        [
            folder("bin"),
            entry("bin/busybox", content=program, mode=0o755),
            entry("bin/sh", content=program, mode=0o755),
            folder("etc"),
            entry("etc/passwd", content=b"root:x:0:0::/root:/bin/sh\nweb:x:1234:1234::/srv:/bin/sh\n"),
            entry("etc/group", content=b"root:x:0:\nweb:x:1234:\n"),
            entry("etc/gone", content=b""),
            folder("srv"),
        ]
    )
    return [first, tar([entry("etc/.wh.gone"), entry("etc/new", content=b"new\n")])]


CONFIG = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo mode $MODE, user $(/bin/busybox id -un), in $PWD; exec /bin/busybox sleep 100000"],
    "Env": ["MODE=fast", "PATH=/bin"],
    "User": "web",
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGKILL",
}


def rootfs(nspawn: Program, name: str) -> Path:
    return nspawn.root / "containers" / name / "rootfs"


def password_of(out: str) -> str:
    lines = [line for line in out.splitlines() if line.startswith("password of root: ")]
    assert len(lines) == 1, out
    return lines[0].removeprefix("password of root: ")


def opens(nspawn: Program, name: str, password: str) -> bool:
    """Whether the password is right: openssl makes the same hash of it."""
    stored = (rootfs(nspawn, name) / "etc/shadow").read_text().split(":")[1]
    _, _six, salt, _hash = stored.split("$")
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    made = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return made.stdout.strip() == stored


def nothing_left(nspawn: Program) -> bool:
    return os.listdir(nspawn.root / "containers") == []


def test_a_file_becomes_a_machine_of_its_own(daemon: Daemon, archive: Path) -> None:
    nspawn = daemon.nspawn
    result = nspawn.ok("create", "box", "--image", archive, "--start")
    password = password_of(result.out)
    assert len(password) >= 12
    assert opens(nspawn, "box", password)
    settings = daemon.info("box")["settings"]
    assert (settings["image"], settings["boot"]) == ("small.tar.xz", True)
    assert daemon.says("box", "the init has begun")
    everything = [path.read_bytes() for path in nspawn.root.rglob("*") if path.is_file()]
    assert not any(password.encode() in data for data in everything)
    again = nspawn.ok("create", "two", "--image", archive)
    assert password_of(again.out) != password


def test_standard_input_is_an_image_too(nspawn: Program, archive: Path) -> None:
    result = nspawn("create", "box", "--image", "-", "--password", "open sesame", stdin=archive.read_bytes())
    assert result.status == 0, str(result)
    assert "password" not in result.out
    assert opens(nspawn, "box", "open sesame")


def test_a_password_can_come_by_standard_input(nspawn: Program, archive: Path) -> None:
    result = nspawn("create", "box", "--image", archive, "--password", "-", stdin=b"open sesame\n")
    assert result.status == 0, str(result)
    assert opens(nspawn, "box", "open sesame")


def test_keys_instead_of_a_password(nspawn: Program, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    options: list[str | Path] = ["--lock-password", "--ssh-keys", tmp_path / "key.pub", "--skip", "locale"]
    result = nspawn.ok("create", "box", "--image", archive, *options)
    assert "password" not in result.out
    shadow = (rootfs(nspawn, "box") / "etc/shadow").read_text()
    assert shadow.split(":")[1].startswith(("!", "*"))
    assert (rootfs(nspawn, "box") / "root/.ssh/authorized_keys").read_text() == f"{KEY}\n"


def test_a_zone_and_a_language(nspawn: Program, tmp_path: Path, busybox_base: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(busybox_base, base, symlinks=True)
    for name in ("usr/share/zoneinfo/Europe", "etc/default", "usr/lib/locale/de_DE.utf8"):
        (base / name).mkdir(parents=True)
    (base / "usr/share/zoneinfo/Europe/Berlin").write_bytes(b"TZif")
    (base / "etc/debian_version").write_text("13.0\n")
    archive = tmp_path / "placed.tar.xz"
    archive.write_bytes(rootfs_xz(base))
    made = nspawn.ok(
        *("create", "box", "--image", archive, "--timezone", "Europe/Berlin", "--locale", "de_DE.UTF-8")
    )
    assert "locale" not in made.err
    assert "timezone" not in made.err
    etc = rootfs(nspawn, "box") / "etc"
    assert os.readlink(etc / "localtime") == "../usr/share/zoneinfo/Europe/Berlin"
    assert (etc / "timezone").read_text() == "Europe/Berlin\n"
    assert (etc / "default/locale").read_text() == "LANG=de_DE.UTF-8\n"
    other = nspawn.ok("create", "two", "--image", archive, "--timezone", "Asia/Tokyo", "--locale", "ja_JP")
    assert "no time zone Asia/Tokyo" in other.err
    assert "no language ja_JP" in other.err
    assert not (rootfs(nspawn, "two") / "etc/localtime").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--timezone", "../etc"),
        ("--timezone", "/etc/passwd"),
        ("--timezone", ""),
        ("--locale", "de"),
        ("--locale", "de_DE\n"),
        ("--locale", "de_DE", "--skip", "locale"),
    ],
)
def test_no_such_zone_or_language(nspawn: Program, archive: Path, options: tuple[str, ...]) -> None:
    result = nspawn("create", "box", "--image", archive, *options)
    assert result.status == 2, str(result)
    assert not (nspawn.root / "containers" / "box").exists()


def test_what_the_user_says_of_its_run_counts(nspawn: Program, archive: Path) -> None:
    nspawn.ok("create", "one", "--image", archive, "--command", "/bin/sleep 9")
    nspawn.ok("create", "two", "--image", archive, "--set", "boot=false")
    for name, command in (("one", ["/bin/sleep", "9"]), ("two", [])):
        settings = nspawn.json("info", name, "--json")["settings"]  # type: ignore[index]
        assert (settings["boot"], settings["command"]) == (False, command)


@pytest.mark.parametrize("form", ["folder", "tar", "docker save", "standard input"])
def test_an_image_in_a_file_runs_its_command(
    daemon: Daemon, layers: list[bytes], tmp_path: Path, form: str
) -> None:
    layout = Layout()
    layout.add(layout.image(layers, CONFIG))
    target = tmp_path / "image"
    if form == "folder":
        layout.write(target)
    else:
        target.write_bytes(docker_save(layers, CONFIG, "it:1") if form == "docker save" else layout.tar())
    stdin = target.read_bytes() if form == "standard input" else b""
    result = daemon.nspawn("create", "app", "--image", "-" if stdin else target, "--start", stdin=stdin)
    assert result.status == 0, str(result)
    assert "listens at 80/tcp" in result.err
    assert "password" not in result.out
    assert daemon.says("app", "mode fast, user web, in /srv")
    assert not (rootfs(daemon.nspawn, "app") / "etc/gone").exists()
    assert (rootfs(daemon.nspawn, "app") / "etc/new").read_text() == "new\n"
    settings = daemon.info("app")["settings"]
    assert (settings["user"], settings["workdir"], settings["stop_signal"]) == ("web", "/srv", "SIGKILL")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, layers: list[bytes]) -> Iterator[registries.Registry]:
    layout = Layout()
    top = layout.index([layout.image(layers, CONFIG), layout.image(layers[:1], CONFIG, arch="arm64")])
    with registries.registry(tmp_path_factory.mktemp("registry")) as found:
        found.push(layout, top, "team/app", "1.0")
        yield found


def test_a_registrys_image_runs_its_command(daemon: Daemon, registry: registries.Registry) -> None:
    reference = f"{registry.host}/team/app:1.0"
    daemon.nspawn.ok("create", "app", "--image", reference, "--start", "--env", "MODE=slow")
    assert daemon.says("app", "mode slow, user web, in /srv")
    assert daemon.info("app")["settings"]["image"] == reference


def test_a_kept_image_is_listed_checked_and_removed(nspawn: Program, registry: registries.Registry) -> None:
    reference = f"{registry.host}/team/app:1.0"
    nspawn.ok("create", "app", "--image", reference, "--keep")
    listed = nspawn.json("image", "list", "--json")
    assert isinstance(listed, list)
    [kept] = listed
    assert (kept["reference"], kept["missing"], len(kept["digests"])) == (reference, [], 2)
    assert reference in nspawn.ok("image", "list").out
    assert nspawn.json("image", "info", kept["id"], "--json") == kept
    assert "whole" in nspawn.ok("image", "verify").out
    blobs = [path for path in (nspawn.root / "images").rglob("*") if len(path.name) == 64]
    found = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in blobs}
    assert found == {f"sha256:{path.name}" for path in blobs}
    assert found >= set(kept["digests"])
    with blobs[0].open("r+b") as file:
        file.write(b"\0\0\0\0")
    result = nspawn("image", "verify")
    assert (result.status, blobs[0].name in result.err) == (1, True)
    nspawn.ok("image", "rm", reference)
    assert nspawn.json("image", "list", "--json") == []
    assert not any(path.exists() for path in blobs)
    assert nspawn.json("list", "--json") != []


def test_what_is_kept_is_not_fetched_again(nspawn: Program, busybox_base: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "images") as site:
        site.add("debian", "trixie", rootfs_xz(busybox_base), alias="13")
        nspawn.environment["NSPAWN_IMAGE_SERVER"] = site.address
        for name, options in (("one", ["--keep"]), ("two", []), ("three", ["--keep"])):
            nspawn.ok("create", name, "--image", "debian:13", *options)
        assert sum(path.endswith("root.tar.xz") for path in site.asked) == 1
        [kept] = Path(nspawn.root, "images").rglob("[0-9a-f]" * 64)
        data = bytearray(kept.read_bytes())
        data[1000] ^= 1
        kept.write_bytes(data)
        result = nspawn.ok("create", "four", "--image", "debian:13")
        assert "fetched again: the stored sha256:" in result.err
        assert sum(path.endswith("root.tar.xz") for path in site.asked) == 2
    found = nspawn.json("image", "search", "--json")
    assert isinstance(found, dict)
    assert [each["reference"] for each in found["products"]] == ["debian:trixie"]
    assert "was not reached" in found["notes"][0]


def test_a_mirror_that_sends_something_else_is_gone_around(
    nspawn: Program, busybox_base: Path, tmp_path: Path
) -> None:
    """Damaged early, where the unpacking fails before the hash can, and late, where only the hash tells."""
    archive = rootfs_xz(busybox_base)
    with serve(tmp_path / "images") as site, serve(tmp_path / "mirror") as mirror:
        site.add("debian", "trixie", archive)
        nspawn.environment["NSPAWN_IMAGE_SERVER"] = site.address
        nspawn.root.mkdir()
        (nspawn.root / "config.toml").write_text(f'[images]\nmirrors = ["{mirror.address}"]\n')
        for number, place in enumerate((100, len(archive) // 2, len(archive) - 20)):
            wrong = bytearray(archive)
            wrong[place] ^= 0x55
            mirror.add("debian", "trixie", bytes(wrong))
            result = nspawn("create", f"c{number}", "--image", "debian")
            assert result.status == 0, str(result)
            assert "fetched again" in result.err
            assert opens(nspawn, f"c{number}", password_of(result.out))
        assert sum(path.endswith("root.tar.xz") for path in site.asked) == 3
        site.add("debian", "trixie", archive[:-40] + bytes(40))
        for served in (site, mirror):  # both have other bytes than the index says
            for path in served.folder.rglob("root.tar.xz"):
                path.write_bytes(bytes(path.stat().st_size))
        result = nspawn("create", "last", "--image", "debian")
        assert (result.status, "127.0.0.1" in result.err) == (1, True), str(result)
        assert not (nspawn.root / "containers/last").exists()


def test_info_tells_what_a_name_leads_to(nspawn: Program, registry: registries.Registry) -> None:
    found = nspawn.json("image", "info", f"{registry.host}/team/app:1.0", "--json")
    assert isinstance(found, dict)
    assert (found["user"], found["ports"], found["command"][:2]) == ("web", ["80/tcp"], ["/bin/sh", "-c"])
    assert len(found["digests"]) == 2


@pytest.mark.parametrize(
    ("reference", "status", "told"),
    [
        ("/nowhere/a.tar", 1, "there is no file"),
        ("docker://UPPER", 2, "written small"),
        ("HOST/team/none:1.0", 1, "none"),
        ("HOST/team/app:2.0", 1, "2.0"),
        ("http://example.org/a.tar#sha256=" + "0" * 64, 2, "http"),
        ("https://example.org/a.tar", 2, "sha256"),
        ("de bian", 2, "names no image"),
    ],
)
def test_what_is_not_there_leaves_nothing(
    nspawn: Program, registry: registries.Registry, reference: str, status: int, told: str
) -> None:
    result = nspawn("create", "app", "--image", reference.replace("HOST", registry.host))
    assert (result.status, told in result.err) == (status, True), str(result)
    assert not (nspawn.root / "containers").exists() or nothing_left(nspawn)


def test_what_does_not_fit_is_refused_before_it_is_fetched(
    nspawn: Program, busybox_base: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "big.tar.xz"
    archive.write_bytes(rootfs_xz(busybox_base, extra=12 << 20))
    nspawn.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", nspawn.root], check=True)
    try:
        result = nspawn("create", "box", "--image", archive)
        assert result.status == 1
        assert "there is not enough space for big.tar.xz" in result.err
        assert "Free about" in result.err
        assert nothing_left(nspawn)
    finally:
        subprocess.run(["umount", nspawn.root], check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--image", "builtin", "--keep"], "--keep"),
        (["--rootfs", "/tmp", "--password", "x"], "--password"),
        (["--image", "./a.tar", "--variant", "cloud"], "--variant"),
        (["--image", "debian", "--variant", "../x"], "--variant"),
        (["--image", "debian", "--skip", "everything"], "no step"),
        (["--image", "debian", "--password", ""], "empty"),
        (["--image", "debian", "--password", "x", "--lock-password"], "not allowed with"),
        (["--image", "-", "--password", "-"], "standard input"),
    ],
)
def test_options_that_do_not_fit_are_refused(nspawn: Program, words: list[str], told: str) -> None:
    result = nspawn("create", "box", *words)
    assert (result.status, told in result.err) == (2, True), str(result)
