"""Root file systems from images of the OCI: compared with umoci's, and containers that run as images say."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from nspawn.images import ocilayout, tarball
from tests.support import registry as support
from tests.support.named import Named, named
from tests.support.ociimages import (
    EXPECTED,
    GONE,
    RUN_CONFIG,
    Layout,
    busybox_layers,
    docker_save,
    entry,
    folder,
    link,
    tar,
)
from tests.support.registry import PASSWORD, USER, Registry

pytestmark = pytest.mark.root

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
Tree = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def layers() -> list[bytes]:
    return busybox_layers(Path("/bin/busybox").read_bytes())


@pytest.fixture(scope="module")
def served(layers: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with support.registry(tmp_path_factory.mktemp("registry"), password=True) as found:
        layout = Layout()
        images = [layout.image(layers, RUN_CONFIG, arch=ARCH), layout.image(layers[:1], arch="s390x")]
        found.push(layout, layout.index(images), "team/web", "1.0")
        yield found


@pytest.fixture
def nspawn(tmp_path: Path) -> Iterator[Named]:
    with named(tmp_path) as program:
        yield program


def _tree(root: Path) -> Tree:
    """All that layers can say of a file, but for times of folders: those change by what is put in them."""
    found: Tree = {}
    numbers: dict[int, str] = {}
    for place, folders, names in os.walk(root):
        for name in sorted((*folders, *names)):
            path = Path(place, name)
            status = path.lstat()
            key = str(path.relative_to(root))
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            first = numbers.setdefault(status.st_ino, key)
            attributes = {
                each: os.getxattr(path, each, follow_symlinks=False)
                for each in os.listxattr(path, follow_symlinks=False)
            }
            found[key] = (
                *(oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, content, attributes),
                first if not stat.S_ISDIR(status.st_mode) else "",
                0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns,
            )
    return found


def _ours(place: Path, target: Path) -> Tree:
    source = ocilayout.open_source(str(place), str(place))
    assert source is not None
    target.mkdir()
    for layer in source.resolve(lambda _: None, lambda: False).layers:
        tarball.extract(source.open(layer), str(target), lambda _: None, lambda: False, layer=True)
    return _tree(target)


def _theirs(place: Path, target: Path) -> Tree:
    words = ["umoci", "unpack", "--image", f"{place}:it", str(target)]
    subprocess.run(words, check=True, capture_output=True)
    return _tree(target / "rootfs")


def _write(layers: list[bytes], place: Path, kind: str = "gzip") -> Path:
    layout = Layout()
    layout.add(layout.image(layers, arch=ARCH, kind=kind), "it")
    return layout.write(place)


def test_layers_are_applied_as_umoci_does(layers: list[bytes], tmp_path: Path) -> None:
    place = _write(layers, tmp_path / "layout")
    ours = _ours(place, tmp_path / "ours")
    for name, content in EXPECTED.items():
        assert (tmp_path / "ours" / name).read_bytes() == content
    for name in GONE:
        assert name not in ours
    assert ours == _theirs(place, tmp_path / "theirs")


@pytest.mark.parametrize("kind", ["", "zstd"])
def test_other_compressions(layers: list[bytes], kind: str, tmp_path: Path) -> None:
    ours = _ours(_write(layers, tmp_path / "layout", kind), tmp_path / "ours")
    assert ours == _ours(_write(layers, tmp_path / "gzip"), tmp_path / "again")


def test_everything_that_a_file_can_be(tmp_path: Path) -> None:
    xattrs = {"SCHILY.xattr.user.colour": "blue", "SCHILY.xattr.trusted.x": "y"}
    below = tar(
        [
            folder("d", mode=0o2775, uid=7, gid=8),
            entry("d/setuid", content=b"x", mode=0o4755, uid=0, gid=5),
            entry("d/pipe", type=tarfile.FIFOTYPE, mode=0o600),
            entry("d/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            entry("d/marked", content=b"m", pax_headers=xattrs),
            link("d/dangling", "/nowhere/at/all"),
            link("d/loop", "loop"),
            entry("d/" + "long" * 40, content=b"l"),
            entry("d/\u00fc\u2603", content=b"u"),
            entry("d/one", content=b"one"),
            link("d/two", "d/one", hard=True),
            link("d/three", "d/one", hard=True),
            folder("sticky", mode=0o1777),
            entry("implied/folders/file", content=b"i"),
        ]
    )
    above = tar(
        [
            folder("d", mode=0o700, uid=9, gid=9),
            entry("d/.wh.one"),
            entry("d/.wh.pipe"),
            entry("d/null", content=b"now a file"),
            link("d/setuid", "marked"),
            folder("d/dangling"),
            entry("d/dangling/in", content=b"in"),
            entry("implied/.wh.folders"),
        ]
    )
    place = _write([below, above, tar([])], tmp_path / "layout")
    assert _ours(place, tmp_path / "ours") == _theirs(place, tmp_path / "theirs")


def _random_layer(chance: random.Random, number: int) -> bytes:
    """Files, folders, links and whiteouts; the folders that lead to a change are written, too, as usual."""
    names = [f"{a}/{b}" if b else a for a in "abc" for b in ("", "x", "y", "x/1", "x/2")]
    used: dict[str, str] = {}
    members = []
    for name in sorted(chance.sample(names, 8)):
        above = [name[:cut] for cut, char in enumerate(name) if char == "/"]
        if any(used.get(each, "folder") != "folder" for each in above):
            continue  # below what is no folder in the same layer
        members += [folder(each) for each in above if each not in used]
        used.update(dict.fromkeys(above, "folder"))
        kind = used[name] = chance.choice(("file", "folder", "link", "whiteout", "opaque"))
        head, slash, last = name.rpartition("/")
        if kind == "file":
            mode = chance.choice((0o600, 0o755))
            members.append(entry(name, content=f"{number}{name}".encode(), mode=mode))
        elif kind == "link":
            members.append(link(name, chance.choice(("nowhere", "/", "a", "../b"))))
        elif kind == "whiteout":
            members.append(entry(f"{head}{slash}.wh.{last}"))
        else:
            used[name] = "folder"
            members.append(folder(name, mode=chance.choice((0o700, 0o755))))
            if kind == "opaque":
                members.append(entry(f"{name}/.wh..wh..opq"))
    return tar(members)


@pytest.mark.parametrize("seed", range(6))
def test_any_layers(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    place = _write([_random_layer(chance, number) for number in range(5)], tmp_path / "layout")
    assert _ours(place, tmp_path / "ours") == _theirs(place, tmp_path / "theirs")


def test_a_container_from_a_registry(nspawn: Named, served: Registry) -> None:
    image = f"{served.host}/team/web:1.0"
    refused = nspawn("create", "web", "--image", image)
    assert refused.status == 1
    assert f"nspawn image login {served.host}" in refused.err
    assert nspawn.names() == []
    wrong = nspawn("image", "login", served.host, "-u", USER, stdin=b"wrong\n")
    assert wrong.status == 1
    login = nspawn("image", "login", served.host, "-u", USER, stdin=f"{PASSWORD}\n".encode())
    assert (login.status, login.out) == (0, f"logged in at {served.host} as {USER}\n")
    assert PASSWORD not in login.err
    made = nspawn.ok("create", "web", "--image", image)
    assert "80/tcp" in made.out + made.err
    settings = nspawn.container("web")["settings"]
    assert settings["command"] == ["/bin/sh", "-c", "id -un; pwd; echo $GREETING"]
    assert settings["user"] == "web"
    assert settings["workdir"] == "/srv"
    assert settings["stop_signal"] == "SIGQUIT"
    assert settings["image"] == image
    nspawn.ok("start", "web")
    assert "web\r\n/srv\r\nhello from the image" in _log(nspawn, "web")
    out = nspawn.ok("image", "logout", served.host)
    assert served.host in out.out
    assert nspawn("image", "logout", served.host).status == 1


def test_a_login_on_a_terminal(nspawn: Named, served: Registry) -> None:
    with nspawn.terminal("image", "login", served.host) as child:
        child.expect(f"User at {served.host}: ")
        child.sendline(USER)
        child.expect(f"Password of {USER} at {served.host}: ")
        child.sendline(PASSWORD)
        child.expect("logged in at ")
        assert PASSWORD not in (child.before or "")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    file = nspawn.root / "registries.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD in file.read_text()


@pytest.mark.parametrize(
    ("words", "stdin", "status", "why"),
    [
        (["HOST"], b"x\n", 2, "who are you there?"),
        (["HOST", "-u", "a:b"], b"x\n", 2, "not a user"),
        (["HOST", "-u", USER], b"", 2, "it is empty"),
        (["HOST", "-u", USER], b"\xff\n", 2, "no text"),
        (["not a host", "-u", USER], b"x\n", 2, "not a registry"),
        (["HOST", "-u", USER, "--realm", "http://x"], b"x\n", 2, "not a registry"),
        (["HOST", "-u", USER, "--password", "x"], b"x\n", 2, "--password"),
        (["127.0.0.1:1", "-u", USER], b"x\n", 1, "127.0.0.1:1"),
    ],
)
def test_a_login_that_is_refused(
    nspawn: Named, served: Registry, words: list[str], stdin: bytes, status: int, why: str
) -> None:
    (nspawn.root / "config.toml").write_text("[page]\nport = 0\n[images]\nretries = 0\n")
    found = nspawn(
        "image", "login", *(served.host if word == "HOST" else word for word in words), stdin=stdin
    )
    assert found.status == status
    assert why in found.err
    assert not (nspawn.root / "registries.toml").exists()


def _log(nspawn: Named, name: str) -> str:
    """Once it has ended."""
    import time

    for _ in range(200):
        if nspawn.state(name)["state"] == "stopped":
            break
        time.sleep(0.05)
    return nspawn.ok("logs", name, "--raw").out


@pytest.mark.parametrize("form", ["folder", "tar", "docker save", "a pipe"])
def test_a_container_from_a_file(nspawn: Named, layers: list[bytes], form: str, tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image(layers, RUN_CONFIG, arch=ARCH))
    place = tmp_path / "image"
    stdin: bytes | None = None
    if form == "folder":
        layout.write(place)
    else:
        data = docker_save(layers, RUN_CONFIG, arch=ARCH) if form == "docker save" else layout.tar()
        place.write_bytes(data)
        stdin = data if form == "a pipe" else None
    words = ("--image", "-" if stdin else str(place), "--user", "root")
    made = nspawn("create", "web", *words, stdin=stdin or b"")
    assert made.status == 0, made.err
    settings = nspawn.container("web")["settings"]
    assert settings["user"] == "root"
    assert settings["workdir"] == "/srv"
    assert dict(settings["env"])["GREETING"] == "hello from the image"
    assert (nspawn.folder("web") / "rootfs/etc/changed").read_bytes() == b"new\n"
    assert not list((nspawn.root / "images").glob("*"))


def test_an_image_of_one_program(nspawn: Named, tmp_path: Path) -> None:
    """No shell, no folders, no users: as images for one static program are."""
    layout = Layout()
    only = tar([entry("busybox", content=Path("/bin/busybox").read_bytes(), mode=0o755)])
    layout.add(layout.image([only], {"Entrypoint": ["/busybox", "echo"], "Cmd": ["it", "works"]}, arch=ARCH))
    made = nspawn("create", "one", "--image", str(layout.write(tmp_path / "layout")))
    assert made.status == 0, made.err
    nspawn.ok("start", "one")
    assert "it works" in _log(nspawn, "one")


def test_an_image_of_nothing_to_run(nspawn: Named, tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image([tar([entry("file", content=b"x")])], arch=ARCH))
    made = nspawn("create", "one", "--image", str(layout.write(tmp_path / "layout")))
    assert made.status == 1
    assert "shell" in made.err
    assert nspawn.names() == []
