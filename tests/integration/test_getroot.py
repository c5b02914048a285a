"""getroot as a person uses it, against a server of the real layout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nspawn.errors import Conflict
from nspawn.layout import Layout
from nspawn.model.machines import parse_machine
from nspawn.service.getroot import make
from tests.support import imageserver, imageshape, ociimages
from tests.support.command import Result, check, end_group
from tests.support.imagefiles import rootfs_tar, rootfs_xz
from tests.support.imageserver import ImageServer
from tests.support.program import Program

pytestmark = pytest.mark.usefixtures("needs_root")
ARCH = parse_machine(os.uname().machine)
OTHER = "riscv64" if ARCH != "riscv64" else "amd64"
DEBIAN = f"debian:trixie:{ARCH}:default"


@pytest.fixture(scope="module")
def small(busybox_base: Path) -> bytes:
    return rootfs_xz(busybox_base)


@pytest.fixture(scope="module")
def big(busybox_base: Path) -> bytes:
    """Of some megabytes on the line."""
    return rootfs_xz(busybox_base, extra=2 << 20)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    imageserver.certificate(folder)
    return folder


@pytest.fixture
def server(keys: Path, small: bytes) -> Iterator[ImageServer]:
    with imageserver.serving(keys) as found:
        found.add(DEBIAN, small, aliases=["debian/trixie", "debian/13", "debian/13/default"])
        found.add(f"debian:bookworm:{ARCH}:default", small, aliases=["debian/12"])
        found.add(f"debian:trixie:{ARCH}:cloud", small, aliases=["debian/13/cloud"])
        found.add(f"alpine:3.22:{ARCH}:default", small)
        found.add(f"archlinux:current:{ARCH}:default", small, aliases=["archlinux"])
        found.add(f"fedora:44:{OTHER}:default", small)
        yield found


@pytest.fixture
def getroot(tmp_path: Path, server: ImageServer) -> Program:
    """In an own folder, with few retries."""
    program = Program(tmp_path / "state", "getroot")
    program.environment |= server.environment
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "work").mkdir()
    configure(tmp_path)
    return program


def configure(tmp_path: Path, *mirrors: str) -> None:
    listed = ", ".join(f'"{mirror}"' for mirror in mirrors)
    (tmp_path / "state/config.toml").write_text(f"[images]\nretries = 1\nmirrors = [{listed}]\n")


@pytest.fixture
def get(getroot: Program, tmp_path: Path) -> Callable[..., Result]:
    def run(*words: str | Path, stdin: bytes = b"") -> Result:
        return getroot(*words, directory=tmp_path / "work", stdin=stdin, timeout=60)

    return run


def left(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "work"))


def test_get_and_run(get: Callable[..., Result], nspawn: Program, tmp_path: Path) -> None:
    done = get("debian:13")
    assert done.status == 0, str(done)
    assert done.lines[0] == "./debian_trixie is ready.  Try: nspawn ./debian_trixie"
    assert left(tmp_path) == ["debian_trixie"]
    place = tmp_path / "work/debian_trixie"
    result = nspawn(place, "/bin/sh", "-c", "echo it runs; cat /etc/os-release")
    assert result.status == 0, str(result)
    assert result.lines[:2] == ["it runs", "ID=small"]
    word = re.search(r"^password of root: (\S{8,})$", done.out, re.MULTILINE)
    assert word, str(done)
    hashed = (place / "etc/shadow").read_text().split(":")[1]
    salt = hashed.split("$")[2]
    made = check(["openssl", "passwd", "-6", "-salt", salt, "-stdin"], stdin=word[1].encode())
    assert made.out.strip() == hashed


def test_a_zone_that_the_image_has_not(get: Callable[..., Result], small: bytes, tmp_path: Path) -> None:
    (tmp_path / "work/small.tar.xz").write_bytes(small)
    result = get("./small.tar.xz", "-o", "made", "--timezone", "Mars/Olympus")
    assert result.status == 0, str(result)
    assert "no time zone Mars/Olympus" in result.err
    assert get("./small.tar.xz", "-o", "other", "--timezone", "../x").status == 2
    assert left(tmp_path) == ["made", "small.tar.xz"]


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (("debian",), "debian_trixie"),
        (("-d", "debian", "-r", "12"), "debian_bookworm"),
        (("-ddebian", "-r", "trixie", "-a", os.uname().machine), "debian_trixie"),
        (("arch",), "archlinux_current"),
        (("alpine", "-o", "here"), "here"),
        (("fedora", "-a", OTHER), "fedora_44"),
        (("debian", "--variant", "cloud", "--lock-password"), "debian_trixie"),
    ],
)
def test_names(get: Callable[..., Result], tmp_path: Path, words: tuple[str, ...], folder: str) -> None:
    done = get(*words)
    assert done.status == 0, str(done)
    assert left(tmp_path) == [folder]
    assert (tmp_path / "work" / folder / "bin/busybox").exists()


def test_a_debian(
    get: Callable[..., Result], nspawn: Program, server: ImageServer, debian_base: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "debian.tar.xz"
    check(["tar", "-C", debian_base, "--xattrs", "-I", "xz -0 -T0", "-cf", packed, "."], timeout=120)
    server.add(DEBIAN, packed.read_bytes(), serial="20261124_05:24")
    packed.unlink()
    done = get("debian", "-v")
    assert done.status == 0, str(done)
    assert "built 20261124_05:24" in done.err
    result = nspawn(
        tmp_path / "work/debian_trixie", "/bin/sh", "-c", "dpkg --audit && . /etc/os-release && echo $ID"
    )
    assert (result.status, result.lines[-1]) == (0, "debian"), str(result)


def test_list_and_search(get: Callable[..., Result], server: ImageServer) -> None:
    listed = get("--list")
    assert listed.status == 0, str(listed)
    rows = [line.split() for line in listed.lines]
    assert rows[0] == ["IMAGE", "ALSO", "SIZE", "BUILT"]
    assert [row[0] for row in rows[1:]] == [
        "alpine:3.22",
        "archlinux:current",
        "debian:trixie",
        "debian:bookworm",
    ]
    assert rows[3][1:3] == ["debian,", "13"]
    assert rows[1][-1] == "2026-11-23"
    assert max(map(len, listed.lines)) <= 60
    found = get("-s", "deb")
    assert [line.split()[0] for line in found.lines[1:]] == ["debian:trixie", "debian:bookworm"]
    cloud = get("-l", "debian", "--cloud")
    assert "debian/trixie/cloud" in cloud.out
    assert [line.split()[0] for line in get("-l", "-a", OTHER).lines[1:]] == ["fedora:44"]
    assert get("-s", "windows").status == 1
    statuses = [status for path, status in server.asked if path == imageserver.IMAGES]
    assert statuses == [200, 304, 304, 304, 304]


def test_the_whole_list_fits_a_phone(get: Callable[..., Result], server: ImageServer) -> None:
    server.files[imageserver.IMAGES] = imageshape.public_bytes()
    lines = get("-l", "-a", "arm64").lines
    assert max(map(len, lines)) <= 60
    names = {line.split()[0].replace("/", ":").partition(":")[0] for line in lines[1:]}
    assert names == set(imageshape.PUBLIC)


def test_two_at_once(getroot: Program, server: ImageServer, big: bytes, tmp_path: Path) -> None:
    """One of them makes it; the other finds it there, and neither takes the other's for a leftover."""
    path = server.add(DEBIAN, big)
    server.faults[path] = imageserver.slow
    both = [
        subprocess.Popen(
            [getroot.path, "debian"],
            env=getroot.environment,
            cwd=tmp_path / "work",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        said = [process.communicate(timeout=60)[1] for process in both]
    finally:
        for process in both:
            end_group(process.pid)
            process.wait()
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert sum(b"is there already" in text for text in said) == 1
    assert left(tmp_path) == ["debian_trixie"]


def test_what_is_there_stays(
    get: Callable[..., Result], server: ImageServer, small: bytes, tmp_path: Path
) -> None:
    place = tmp_path / "work/debian_trixie"
    assert get("debian").status == 0
    (place / "root/mine").write_text("kept")
    before = [path for path, _ in server.asked if path.startswith("images/")]
    again = get("debian")
    assert again.status == 1
    assert "is there already" in again.err
    assert "--force" in again.err
    assert [path for path, _ in server.asked if path.startswith("images/")] == before
    assert (place / "root/mine").read_text() == "kept"
    forced = get("debian", "--force")
    assert forced.status == 0, str(forced)
    assert not (place / "root/mine").exists()
    assert left(tmp_path) == ["debian_trixie"]


def test_what_comes_into_an_empty_folder_meanwhile_stays(getroot: Program, tmp_path: Path) -> None:
    place = tmp_path / "work"
    (place / "out").mkdir()

    def fill(path: str, _at: int) -> None:
        Path(path, "new").touch()
        (place / "out/photo").write_text("mine")

    with pytest.raises(Conflict):
        make(
            Layout(str(tmp_path / "state")),
            str(place / "out"),
            fill,
            lambda _: True,
            lambda _: None,
            lambda: False,
        )
    assert [path.name for path in place.rglob("*")] == ["out", "photo"]
    assert (place / "out/photo").read_text() == "mine"
    (place / "out/photo").unlink()
    assert getroot("builtin", "-o", place / "out").status == 0
    assert (place / "out/bin/sh").exists()


def test_a_containers_root_is_not_replaced(get: Callable[..., Result], tmp_path: Path) -> None:
    place = tmp_path / "work/deb"
    assert get("debian", "-o", "deb").status == 0
    assert Program(tmp_path / "state")("create", "box", "--rootfs", place).status == 0
    (place / "root/mine").write_text("kept")
    forced = get("debian", "--force", "-o", "deb")
    assert forced.status == 1
    assert "it belongs to the container box" in forced.err
    assert (place / "root/mine").read_text() == "kept"


def test_a_terminal_is_asked(getroot: Program, tmp_path: Path, server: ImageServer) -> None:
    place = tmp_path / "work/box"
    assert getroot("debian", "-o", place, timeout=60).status == 0
    (place / "root/mine").write_text("kept")
    for answer, gone in (("n", False), ("", False), ("y", True)):
        with getroot.terminal("debian", "-o", place) as terminal:
            terminal.expect("Replace it, and lose all that is in it\\? \\[y/N\\] ")
            terminal.sendline(answer)
            terminal.expect("is ready" if gone else "was left as it is")
            terminal.wait()
        assert (place / "root/mine").exists() is not gone
    assert left(tmp_path) == ["box"]


def test_force_takes_no_other_folder(
    get: Callable[..., Result], nspawn: Program, server: ImageServer, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    (work / "home/photos").mkdir(parents=True)
    (work / "link").symlink_to("home")
    (work / "file").write_text("x")
    (work / "empty").mkdir()
    for name, why in (
        ("home", "holds something else than a root file system"),
        ("link", "it is a link"),
        ("file", "it is a file"),
        ("../state", "the state of nspawn"),
        ("/", "cannot be the new folder"),
        ("nowhere/box", "there is no folder"),
    ):
        done = get("debian", "--force", "-o", name)
        assert done.status in (1, 2)
        assert why in done.err
    assert get("debian", "-o", "empty").status == 0
    with nspawn.box(work / "empty"):
        busy = get("debian", "-o", "empty", "--force")
        assert busy.status == 1
        assert "runs in it" in busy.err
    assert left(tmp_path) == ["empty", "file", "home", "link"]
    assert (work / "home/photos").is_dir()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"size": 1000}, ""),
        ({"size": 9_000_000}, ""),
        ({"size": 1 << 39}, "there is not enough space"),
        ({"path": "../../etc/shadow"}, "expected a path below the server's root"),
        ({"path": "images/gone.tar.xz"}, ""),
    ],
)
def test_a_wrong_index(
    get: Callable[..., Result],
    server: ImageServer,
    tmp_path: Path,
    wrong: dict[str, object],
    says: str,
) -> None:
    server.change(DEBIAN, wrong)
    done = get("debian:13")
    assert done.status == 1, str(done)
    assert says in done.err
    assert left(tmp_path) == []
    if "size" in wrong and wrong["size"] == 1 << 39:
        assert not [path for path, _ in server.asked if path.startswith("images/")]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (imageserver.IMAGES, imageserver.short),
        (imageserver.IMAGES, imageserver.truncated),
        (imageserver.IMAGES, imageserver.nuls),
        (imageserver.INDEX, imageserver.nuls),
        (imageserver.INDEX, imageserver.missing),
        (imageserver.INDEX, imageserver.overloaded),
        (imageserver.INDEX, imageserver.redirected("http://evil.example/index.json")),
        (imageserver.INDEX, imageserver.redirected("file:///etc/passwd")),
    ],
)
def test_a_damaged_index(
    get: Callable[..., Result],
    server: ImageServer,
    tmp_path: Path,
    path: str,
    fault: imageserver.Fault,
) -> None:
    server.faults[path] = fault
    done = get("debian")
    assert done.status == 1, str(done)
    assert done.err.startswith(("getroot: ", "asking"))
    assert "Traceback" not in done.err
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("debiam",), "Did you mean debian"),
        (("debian:99",), "There are: trixie (13), bookworm (12)"),
        (("fedora",), f"there is no image of fedora for {ARCH}"),
        (("debian", "--variant", "desktop"), "There are: cloud, default"),
        (("debian", "-a", "pdp11"), "there is no image of debian for pdp11"),
        (("-d", "debian", "debian"), "name two images"),
        (("debian:13", "-r", "12"), "does not go with"),
        (("-r", "13"), "no image is named"),
        (("debian", "-o"), "expected one argument"),
        (("debian", "--froce"), "unrecognized arguments"),
        (("debian/../x",), "names no image"),
    ],
)
def test_unknown_names(get: Callable[..., Result], tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = get(*words)
    assert done.status in (1, 2)
    assert says in done.err
    assert left(tmp_path) == []


def test_mirrors(
    get: Callable[..., Result], server: ImageServer, keys: Path, small: bytes, tmp_path: Path
) -> None:
    path = next(
        name for name in server.files if name.startswith("images/debian/trixie") and "default" in name
    )
    with imageserver.serving(keys) as mirror, imageserver.serving(keys) as stale:
        mirror.files[path] = small
        configure(tmp_path, stale.address, mirror.address)
        assert get("debian", "-o", "one").status == 0
        assert (stale.count(path), mirror.count(path), server.count(path)) == (1, 1, 0)
        assert mirror.count(imageserver.INDEX) == 0  # never from a mirror

        stale.faults[path] = imageserver.redirected(f"{mirror.address}/{path}")
        assert get("debian", "-o", "two").status == 0
        assert (mirror.count(path), server.count(path)) == (2, 0)

        stale.faults[path] = imageserver.redirected("http://evil.example/x")
        mirror.faults[path] = imageserver.overloaded
        assert get("debian", "-o", "three").status == 0
        assert server.count(path) == 1

        del stale.faults[path]
        mirror.faults[path] = imageserver.nuls
        done = get("debian", "-o", "four")
        assert done.status == 0, str(done)
        assert server.count(path) == 2
    assert left(tmp_path) == ["four", "one", "three", "two"]


def test_without_the_server(get: Callable[..., Result], server: ImageServer, tmp_path: Path) -> None:
    assert get("debian", "--keep").status == 0
    server.close()
    listed = get("-l")
    assert listed.status == 0, str(listed)
    assert f"{server.address} was not reached; its list of a moment ago is used" in listed.err
    assert "debian:trixie" in listed.out
    kept = get("debian", "--keep", "-o", "again")
    assert kept.status == 0, str(kept)
    assert get("alpine").status == 0  # the same archive as debian's here: what is kept goes by its hash
    shutil.rmtree(tmp_path / "state/images/blobs")
    assert get("alpine", "-o", "gone").status == 1
    assert left(tmp_path) == ["again", "alpine_3.22", "debian_trixie"]


def test_a_damaged_list_is_not_kept(get: Callable[..., Result], server: ImageServer, tmp_path: Path) -> None:
    assert get("-l").status == 0
    for kept in (tmp_path / "state/images/streams").iterdir():
        kept.write_bytes(kept.read_bytes()[:-100])
    assert get("-l").status == 0
    assert [status for path, status in server.asked if path == imageserver.IMAGES] == [200, 200]


def test_plain_http(tmp_path: Path, keys: Path, small: bytes, getroot: Program) -> None:
    with imageserver.serving(keys, tls=False) as plain:
        plain.add(DEBIAN, small)
        getroot.environment["NSPAWN_IMAGE_SERVER"] = plain.address
        assert getroot("debian", directory=tmp_path / "work").status == 0
    for address in ("http://192.0.2.1", "ftp://127.0.0.1", "nonsense"):
        getroot.environment["NSPAWN_IMAGE_SERVER"] = address
        done = getroot("-l")
        assert done.status == 2, str(done)
        assert done.err


def test_no_trust_without_the_certificate(
    get: Callable[..., Result], getroot: Program, tmp_path: Path
) -> None:
    del getroot.environment["SSL_CERT_FILE"]
    done = get("debian")
    assert done.status == 1
    assert "certificate" in done.err.lower()
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle(
    getroot: Program, server: ImageServer, big: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    path = server.add(DEBIAN, big)
    server.faults[path] = imageserver.slow
    work = tmp_path / "work"
    with subprocess.Popen(
        [getroot.path, "debian"],
        env=getroot.environment,
        cwd=work,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            until(lambda: any((found / "bin").exists() for found in work.iterdir()))
            assert left(tmp_path)[0].startswith(".debian_trixie.coming-")
            process.send_signal(number)
            status = process.wait(15)
        finally:
            end_group(process.pid)
    if number == signal.SIGKILL:
        assert status == -9
        assert [name for name in left(tmp_path) if name.startswith(".debian_trixie.coming-")]
        del server.faults[path]
        assert getroot("debian", directory=work, timeout=60).status == 0
        assert left(tmp_path) == ["debian_trixie"]
    else:
        assert status == 130
        assert left(tmp_path) == []


def test_what_went_comes_back(get: Callable[..., Result], tmp_path: Path) -> None:
    """Killed between the two renames of a replacement."""
    assert get("debian").status == 0
    (tmp_path / "work/debian_trixie/root/mine").write_text("kept")
    (tmp_path / "work/debian_trixie").rename(tmp_path / "work/.debian_trixie.going-0123abcd")
    assert get("debian").status == 1
    assert left(tmp_path) == ["debian_trixie"]
    assert (tmp_path / "work/debian_trixie/root/mine").read_text() == "kept"


def until(what: Callable[[], bool]) -> None:
    """Wait for it, at most 15 s."""
    end = time.monotonic() + 15
    while not what():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def test_files_and_standard_input(get: Callable[..., Result], small: bytes, tmp_path: Path) -> None:
    (tmp_path / "work/small.tar.xz").write_bytes(small)
    assert get("./small.tar.xz").status == 0
    assert get("-", "-o", "piped", stdin=small).status == 0
    assert get("-", stdin=small).status == 2
    assert left(tmp_path) == ["piped", "small", "small.tar.xz"]


def test_an_image_of_containers(get: Callable[..., Result], busybox_base: Path, tmp_path: Path) -> None:
    """A layout of OCI: two layers, no password, its command told."""
    layout = ociimages.Layout()
    top = ociimages.tar([ociimages.entry("etc/motd", content=b"the second layer\n")])
    config = {"Entrypoint": ["/bin/echo"], "Cmd": ["it is", "me"]}
    layout.add(layout.image([rootfs_tar(busybox_base), top], config, arch=ARCH))
    layout.write(tmp_path / "work/app")
    done = get("./app", "-o", "box")
    assert done.status == 0, str(done)
    assert "password" not in done.out
    assert "Its own command: /bin/echo 'it is' me" in done.err
    assert (tmp_path / "work/box/etc/motd").read_text() == "the second layer\n"
    assert (tmp_path / "work/box/etc/shadow").read_text().startswith("root:*:")


def test_builtin(get: Callable[..., Result], nspawn: Program, tmp_path: Path) -> None:
    assert get("builtin").status == 0
    assert nspawn(tmp_path / "work/builtin", "/bin/true").status == 0
    assert get("builtin").status == 1
    assert get("builtin", "--force").status == 0
    assert get("builtin", "-o", "other").status == 0
    assert get("builtin", "--keep").status == 2
    assert left(tmp_path) == ["builtin", "other"]


def test_the_bar_and_the_lines(getroot: Program, server: ImageServer, big: bytes, tmp_path: Path) -> None:
    path = server.add(DEBIAN, big)
    server.faults[path] = imageserver.slow
    with getroot.terminal("debian", "-o", tmp_path / "work/box", size=(24, 60)) as terminal:
        terminal.expect(r"\[#+ +\] +[0-9]+% of 2\.[0-9] MiB  [0-9.]+ [KM]iB/s")
        terminal.expect("is ready")
        terminal.wait()
    del server.faults[path]
    done = getroot("debian", "-o", tmp_path / "work/lines", timeout=60)
    assert "\r" not in done.err
    assert any(line.startswith("fetching and unpacking ") for line in done.err.splitlines()), done.err
    shutil.rmtree(tmp_path / "work")


def test_help_and_version(get: Callable[..., Result]) -> None:
    assert get("--help").out.startswith("Usage: getroot IMAGE")
    assert max(map(len, get("-h").lines)) <= 110
    assert get("-V").out.startswith("getroot ")
    assert get().status == 2
