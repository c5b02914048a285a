"""Clone, export and import, as a person types them; the trees are compared by tools that are not ours."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nspawn.errors import NspawnError
from nspawn.layout import Layout
from nspawn.model import exported
from nspawn.model.settings import Network, Restart, Settings
from nspawn.service import transfer
from nspawn.service.containers import Containers
from tests.support import processes
from tests.support.named import Named, named
from tests.support.treelist import blocks, describe, enrich

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

#: Writes fifty files one after the other, the same number into each, again and again.
WRITER = (
    "i=0; while :; do i=$((i+1)); for f in 0 1 2 3 4 5 6 7 8 9; do for g in 0 1 2 3 4; do "
    "echo $i > /w/.t; mv /w/.t /w/$f$g; done; done; done"
)


@pytest.fixture
def nspawn(tmp_path: Path) -> Iterator[Named]:
    with named(tmp_path) as program:
        yield program


@pytest.fixture
def box(nspawn: Named) -> Named:
    """A container `box` with a file of every kind."""
    nspawn.ok("create", "box", "--image", "builtin", "--command", "sleep 1000", "--env", "A=b c")
    enrich(nspawn.folder("box") / "rootfs")
    return nspawn


def rootfs(program: Named, name: str) -> Path:
    return program.folder(name) / "rootfs"


def begin(program: Named, *words: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [program.path, *words],
        env=program.environment,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def await_phase(child: subprocess.Popen[bytes], phase: str) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(phase.encode()):
            return
    raise AssertionError(f"it ended without {phase}")


def test_a_round_trip_by_each_compression(box: Named, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "sock"))
        (tmp_path / "sock").rename(rootfs(box, "box") / "run/sock")
    os.utime(rootfs(box, "box") / "run", ns=(0, 0))
    before = describe(rootfs(box, "box"))
    settings = box.container("box")["settings"]
    for ending in ("tar.zst", "tar.xz", "tar"):
        file = tmp_path / f"box.{ending}"
        done = box.ok("export", "box", file, timeout=60)
        assert "exported box to" in done.out
        assert "1 sockets were left out" in done.err
        assert file.stat().st_mode & 0o777 == 0o600
        box.ok("import", file, "other")
        assert describe(rootfs(box, "other")) == before
        assert box.container("other")["settings"] == settings
        for name in ("hole", "void"):
            assert blocks(rootfs(box, "other") / "d" / name) == blocks(rootfs(box, "box") / "d" / name)
        box.ok("rm", "other")
    box.ok("rm", "box")
    assert box.ok("import", tmp_path / "box.tar.xz", "--start").out == "imported box\nbox: running\n"
    assert describe(rootfs(box, "box"))[:5] == before[:5]
    assert sorted(os.listdir(tmp_path)) == ["box.tar", "box.tar.xz", "box.tar.zst", "state"]


def test_gnu_tar_and_xz_read_it(box: Named, tmp_path: Path) -> None:
    before = describe(rootfs(box, "box"))
    box.ok("export", "box", tmp_path / "box.tar.xz", timeout=60)
    (tmp_path / "out").mkdir()
    subprocess.run(["xz", "-t", tmp_path / "box.tar.xz"], check=True)
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tmp_path / "box.tar.xz"],
        cwd=tmp_path / "out",
        check=True,
    )
    (tmp_path / "out" / exported.MEMBER).unlink()
    os.utime(tmp_path / "out", ns=(0, rootfs(box, "box").stat().st_mtime_ns))
    assert describe(tmp_path / "out") == before


def test_attributes_with_odd_names_go_by_gnu_tar_and_back(box: Named, tmp_path: Path) -> None:
    odd = {"user.a=b%c%3D": b"1", "user.e=": b"=", "user.%25": b"", "user.plain": b"x=y"}
    for name, value in odd.items():
        os.setxattr(rootfs(box, "box") / "d/large", name, value)
    before = describe(rootfs(box, "box"))
    box.ok("export", "box", tmp_path / "ours.tar")
    (tmp_path / "out").mkdir()
    options = ["--xattrs", "--xattrs-include=*", "--numeric-owner"]
    subprocess.run(["tar", *options, "-xpf", tmp_path / "ours.tar"], cwd=tmp_path / "out", check=True)
    for name, value in odd.items():
        assert os.getxattr(tmp_path / "out/d/large", name) == value
    theirs = ["tar", *options, "--format=pax", "-cf", str(tmp_path / "theirs.tar"), "d", "bin"]
    subprocess.run(theirs, cwd=tmp_path / "out", check=True)
    for words in (
        ("import", tmp_path / "ours.tar", "other"),
        ("create", "other", "--tar", tmp_path / "theirs.tar"),
    ):
        box.ok(*words)
        for name, value in odd.items():
            assert os.getxattr(rootfs(box, "other") / "d/large", name) == value
        if words[0] == "import":
            assert describe(rootfs(box, "other")) == before
        box.ok("rm", "other")


def test_a_file_with_the_name_of_the_first_member_is_left_out(box: Named, tmp_path: Path) -> None:
    own = rootfs(box, "box") / exported.MEMBER
    own.write_text("its own")
    os.link(own, rootfs(box, "box") / "d/kept")
    (rootfs(box, "box") / "d" / exported.MEMBER).write_text("elsewhere")
    done = box.ok("export", "box", tmp_path / "b.tar")
    assert "1 files were left out: the archive's own first member has that name" in done.err
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert [name for name in tar.getnames() if name == exported.MEMBER] == [exported.MEMBER]
    box.ok("import", tmp_path / "b.tar", "other")
    assert not (rootfs(box, "other") / exported.MEMBER).exists()
    assert (rootfs(box, "other") / "d/kept").read_text() == "its own"
    assert (rootfs(box, "other") / "d" / exported.MEMBER).read_text() == "elsewhere"
    assert "left out" not in box.ok("clone", "box", "twin").err
    assert (rootfs(box, "twin") / exported.MEMBER).read_text() == "its own"


def test_standard_streams(box: Named) -> None:
    packed = box("export", "box", "-")
    assert packed.status == 0
    done = box("import", "-", "other", stdin=packed.stdout)
    assert done.out == "imported other\n", done
    assert describe(rootfs(box, "other")) == describe(rootfs(box, "box"))
    assert box("import", "-", "cut", stdin=packed.stdout[:-1000]).status == 1
    assert box.names() == ["box", "other"]
    assert sorted(os.listdir(box.folder())) == ["box", "other"]


def test_a_clone_is_the_same_with_an_identity_of_its_own(box: Named) -> None:
    (rootfs(box, "box") / "etc/machine-id").write_text("0" * 32 + "\n")
    box.ok("set", "box", "network.mode=nat", "network.ports=8099:80/tcp", "hostname=first", "env.X=1")
    done = box.ok("clone", "box", "twin")
    assert done.out == "cloned box to twin\n"
    for text in ("8099:80/tcp", "first"):
        assert text in done.err
    old, new = (box.container(name)["settings"] for name in ("box", "twin"))
    assert new["network"]["ports"] == []
    assert new["hostname"] == ""
    assert new["env"] == old["env"] == {"A": "b c", "X": "1"}
    machine_id = (rootfs(box, "twin") / "etc/machine-id").read_text()
    assert machine_id != "0" * 32 + "\n"
    assert len(machine_id) == 33
    theirs = [line for line in describe(rootfs(box, "twin")) if "machine-id" not in line]
    ours = [line for line in describe(rootfs(box, "box")) if "machine-id" not in line]
    assert [line for line in theirs if "./etc|" not in line] == [
        line for line in ours if "./etc|" not in line
    ]
    assert blocks(rootfs(box, "twin") / "d/hole") == blocks(rootfs(box, "box") / "d/hole")
    # So has an import beside the original, and none that brings it back.
    packed = box("export", "box", "-").stdout
    assert b"machine-id of its own" in box("import", "-", "third", stdin=packed).stderr
    assert (rootfs(box, "third") / "etc/machine-id").read_text() not in (machine_id, "0" * 32 + "\n")
    box.ok("rename", "box", "old")
    assert b"machine-id" not in box("import", "-", stdin=packed).stderr
    assert (rootfs(box, "box") / "etc/machine-id").read_text() == "0" * 32 + "\n"
    # Two of a kind: writing to one changes nothing of the other.
    (rootfs(box, "twin") / "d/large").write_text("changed")
    assert (rootfs(box, "box") / "d/large").stat().st_size == 1_000_001
    assert box("clone", "box", "twin").status == 1
    assert box("clone", "none", "x").status == 1
    assert box("clone", "box", "../x").status == 2


@pytest.fixture
def writer(nspawn: Named) -> Named:
    """A container that writes all the time."""
    nspawn.ok(
        "create", "box", "--image", "builtin", "--command", f"sh -c '{WRITER}'", "--set", "stop_time=0.2"
    )
    (rootfs(nspawn, "box") / "w").mkdir()
    nspawn.ok("start", "box")
    assert processes.wait_until(lambda: len(numbers(rootfs(nspawn, "box"))) == 50, 10)
    return nspawn


def numbers(tree: Path) -> list[int]:
    """What the writer wrote, in its order."""
    found = []
    for path in sorted((tree / "w").glob("[0-9]*")):
        text = path.read_text()
        found += [int(text)] if text.strip() else []
    return found


def test_one_that_runs_is_frozen_for_the_time(writer: Named, tmp_path: Path) -> None:
    (rootfs(writer, "box") / "ballast").write_bytes(os.urandom(1_000_000))
    for words in (
        ("clone", "box", "a"),
        ("export", "box", tmp_path / "b.tar.xz"),
        ("export", "box", tmp_path / "c.tar"),
    ):
        before = numbers(rootfs(writer, "box"))[-1]
        writer.ok(*words, timeout=60)
        assert writer.state("box")["frozen"] == ""
        assert moves_on(writer, before)
    writer.ok("import", tmp_path / "b.tar.xz", "b")
    writer.ok("import", tmp_path / "c.tar", "c")
    for name in ("a", "b", "c"):
        found = numbers(rootfs(writer, name))
        assert len(found) == 50
        assert found == sorted(found, reverse=True)
        assert found[0] - found[-1] <= 1, found


def moves_on(program: Named, before: int) -> bool:
    return processes.wait_until(lambda: numbers(rootfs(program, "box"))[-1] > before, 5)


def test_what_was_frozen_stays_so(writer: Named, tmp_path: Path) -> None:
    writer.ok("freeze", "box")
    writer.ok("export", "box", tmp_path / "b.tar")
    assert writer.state("box")["frozen"] == "by hand"


def test_one_that_does_not_hold_still_is_refused(writer: Named) -> None:
    reader, sink = os.pipe()
    words: list[str | Path] = [writer.path, "export", "box", "-"]
    with subprocess.Popen(words, env=writer.environment, stdout=sink, stderr=subprocess.PIPE) as child:
        os.close(sink)
        # Nobody reads: it stands in the middle, for as long as this takes.
        assert processes.wait_until(lambda: writer.state("box")["frozen"] != "", 10)
        writer.ok("thaw", "box")
        with open(reader, "rb") as file:
            assert file.read()
        assert child.stderr is not None
        said = child.stderr.read()
        assert child.wait(60) == 1
    assert b"did not hold still" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_export_that_ends_early_leaves_nothing(writer: Named, tmp_path: Path, number: int) -> None:
    (rootfs(writer, "box") / "ballast").write_bytes(os.urandom(8_000_000))
    (tmp_path / "out").mkdir()
    with begin(writer, "export", "box", tmp_path / "out/b.tar.xz") as child:
        await_phase(child, "packing")
        assert processes.wait_until(lambda: writer.state("box")["frozen"] != "", 5)
        child.send_signal(number)
        assert child.wait(20) == (-9 if number == signal.SIGKILL else 130)
    assert processes.wait_until(lambda: writer.state("box")["frozen"] == "", 10)
    assert os.listdir(tmp_path / "out") == []
    assert writer.names() == ["box"]
    writer.ok("kill", "box")
    writer.ok("rm", "box")  # nobody holds its lock


def kernel_says_frozen(folder: str) -> bool:
    """cgroup 2 has it in its events, the version 1 freezer in its state."""
    events, state = Path(folder, "cgroup.events"), Path(folder, "freezer.state")
    return "frozen 1" in events.read_text() if events.exists() else "FROZEN" in state.read_text()


@pytest.mark.parametrize("killed", ["spawner", "keeper and spawner", "keeper, spawner and export"])
def test_it_is_thawed_also_when_the_spawner_is_killed(writer: Named, killed: str) -> None:
    pid, folder = (writer.state("box")[key] for key in ("pid", "cgroup"))
    reader, sink = os.pipe()
    words: list[str | Path] = [writer.path, "export", "box", "-"]
    with subprocess.Popen(words, env=writer.environment, stdout=sink, stderr=subprocess.DEVNULL) as child:
        os.close(sink)
        # Nobody reads: it stands in the middle.
        assert processes.wait_until(lambda: kernel_says_frozen(folder), 10)
        last = numbers(rootfs(writer, "box"))[-1]
        own = [each for each in writer.spawners() if "keeper" in str(processes.command_line(each))]
        keeper = next(each for each in own if processes.parent(each) not in own)
        doomed = [each for each in own if processes.parent(each) == keeper]
        assert doomed
        if "keeper" in killed:
            doomed.insert(0, keeper)  # which would start another
        doomed += [child.pid] if "export" in killed else []
        for each in doomed:
            os.kill(each, signal.SIGKILL)
        assert all(processes.gone(each) for each in doomed)
        assert kernel_says_frozen(folder) or "export" in killed
        with open(reader, "rb") as file:
            assert file.read()
        assert child.wait(60) == (-9 if "export" in killed else 0)
    assert processes.wait_until(lambda: not kernel_says_frozen(folder), 40)
    assert processes.wait_until(lambda: writer.state("box")["supervised"], 10)
    found = writer.state("box")
    assert (found["state"], found["pid"], found["frozen"]) == ("running", pid, "")
    assert moves_on(writer, last)


def test_an_import_that_is_killed_is_gone(box: Named, tmp_path: Path) -> None:
    packed = box("export", "box", "-").stdout
    for count in (1000, len(packed) // 2, len(packed)):
        with begin(box, "import", "-", "other", stdin=subprocess.PIPE) as child:
            assert child.stdin is not None
            child.stdin.write(packed[:count])
            child.stdin.flush()
            time.sleep(0.2)
            child.kill()
            child.stdin.close()
        assert box.names() == ["box"] or (count == len(packed) and box.names() == ["box", "other"])
    box("rm", "other")
    box.ok("clone", "box", "third")  # sweeps
    assert sorted(os.listdir(box.folder())) == ["box", "third"]


def test_a_clone_that_is_killed_is_gone(box: Named) -> None:
    for index in range(1000):
        (rootfs(box, "box") / f"d/file{index}").write_text("x")
    whole = describe(rootfs(box, "box"))
    for pause in (0.0, 0.05, 0.2):
        with begin(box, "clone", "box", "twin") as child:
            await_phase(child, "copying")
            time.sleep(pause)
            child.kill()
        if "twin" in box.names():
            assert describe(rootfs(box, "twin")) == whole  # the kill came after its last step
            box.ok("rm", "twin")
    box.ok("clone", "box", "third")
    assert describe(rootfs(box, "third")) == whole
    assert sorted(os.listdir(box.folder())) == ["box", "third"]


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk(box: Named, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as place:
        for ending in ("tar.zst", "tar.xz", "tar"):
            done = box("export", "box", place / f"b.{ending}")
            assert done.status == 1
            assert "No space left" in done.err
            assert os.listdir(place) == []
    box.ok("export", "box", tmp_path / "b.tar.zst")
    with small_disk(tmp_path / "room", "5m") as place:
        other = Named(place)
        done = other("import", tmp_path / "b.tar.zst")
        assert done.status == 1
        assert other.names() == []
        assert os.listdir(other.folder()) == []
        other.ok("create", "box", "--image", "builtin")
        (rootfs(other, "box") / "x").write_bytes(bytes(1_500_000))
        done = other("clone", "box", "twin")
        assert done.status == 1
        assert "No space left" in done.err
        assert os.listdir(other.folder()) == ["box"]
        done = other("export", "box", place / "b.tar")  # on the disk of the containers something stays free
        assert done.status == 1
        assert "No space left" in done.err
        assert not (place / "b.tar").exists()


def test_what_is_mounted_below_is_not_entered(box: Named, tmp_path: Path) -> None:
    with small_disk(rootfs(box, "box") / "mnt", "1m") as place:
        (place / "photo").write_text("precious")
        done = box.ok("clone", "box", "twin")
        assert "1 places where something else is mounted were not entered" in done.err
        box.ok("export", "box", tmp_path / "b.tar")
    bound = rootfs(box, "box") / "srv"
    subprocess.run(["mount", "--bind", rootfs(box, "box") / "d", bound], check=True)
    try:
        box.ok("clone", "box", "third")
    finally:
        subprocess.run(["umount", bound], check=True)
    box.ok("import", tmp_path / "b.tar", "fourth")
    for name in ("twin", "fourth"):
        assert os.listdir(rootfs(box, name) / "mnt") == []
    assert os.listdir(rootfs(box, "third") / "srv") == []
    assert (rootfs(box, "third") / "d/large").exists()


def test_places_that_an_archive_cannot_have(box: Named, tmp_path: Path) -> None:
    (tmp_path / "there.tar").write_text("precious")
    (tmp_path / "inside").symlink_to(rootfs(box, "box") / "tmp")
    for path, text in (
        (tmp_path / "there.tar", "is there already"),
        (tmp_path, "is a folder"),
        (tmp_path / "none/b.tar", "there is no folder"),
        (rootfs(box, "box") / "b.tar", "in the container itself"),
        (tmp_path / "inside/b.tar", "in the container itself"),
    ):
        done = box("export", "box", path)
        assert done.status in (1, 2)
        assert text in done.err, done
    assert (tmp_path / "there.tar").read_text() == "precious"
    assert box("export", "box", tmp_path / "there.tar", "--force").status == 0
    assert tarfile.is_tarfile(tmp_path / "there.tar")
    assert sorted(os.listdir(tmp_path)) == ["inside", "state", "there.tar"]


def archive(settings: bytes | None, *entries: tuple[str, bytes, bytes]) -> bytes:
    """A plain archive of these settings, then (name, kind, content or link)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, content in ((exported.MEMBER, tarfile.REGTYPE, settings), *entries):
            if content is None:
                continue
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o755
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
            else:
                entry.linkname = content.decode()
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def described(name: str, **changes: object) -> bytes:
    import tomli_w

    value = exported.Exported(name=name, settings=Settings(**changes))  # type: ignore[arg-type]
    return exported.write(value, tomli_w.dumps).encode()


SHELL = ("bin/sh", tarfile.REGTYPE, b"#!")


def test_archives_of_others_reach_nothing(nspawn: Named, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    good = described("box")
    for data in (
        archive(None, SHELL),
        archive(good.replace(b'"box"', b'"../box"'), SHELL),
        archive(good.replace(b"format = 1", b"format = 2"), SHELL),
        archive(good.replace(b"[settings]", b"[settings]\nunknown = 1"), SHELL),
        archive(good.replace(b"binds = []", b'binds = ["../x:/y"]'), SHELL),
        archive(b"\xff\xfe\0", SHELL),
        archive(b"#" * 3_000_000, SHELL),
        archive(good, SHELL, ("../../../kept", tarfile.REGTYPE, b"evil")),
        archive(good, SHELL, ("x", tarfile.LNKTYPE, str(kept).encode())),
        archive(good),
        archive(good, SHELL)[:1700],
        b"",
        b"\x28\xb5\x2f\xfd" + os.urandom(100_000),
        b"\xfd7zXZ\0" + os.urandom(100_000),
        os.urandom(100_000),
    ):
        done = nspawn("import", "-", stdin=data)
        assert done.status == 1, done
        assert "Traceback" not in done.err
        assert nspawn.names() == []
        assert not nspawn.folder().exists() or os.listdir(nspawn.folder()) == []
        assert kept.read_text() == "kept"
        assert kept.stat().st_nlink == 1


def test_the_member_itself_may_be_anything(nspawn: Named, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    data = archive(
        described("box"),
        SHELL,
        (exported.MEMBER, tarfile.SYMTYPE, str(tmp_path / "kept").encode()),
    )
    assert nspawn("import", "-", stdin=data).status == 0
    assert (tmp_path / "kept").read_text() == "kept"
    assert sorted(os.listdir(rootfs(nspawn, "box"))) == ["bin"]


def test_settings_that_reach_out_count_only_when_trusted(nspawn: Named, tmp_path: Path) -> None:
    changes: dict[str, object] = {
        "binds": (f"{tmp_path}:/host",),
        "rootfs": "/etc",
        "storage": "/sdcard",
        "restart": Restart(policy="always"),
        "network": Network(on_down="fallback"),
    }
    data = archive(described("box", **changes), SHELL)
    done = nspawn("import", "-", stdin=data)
    assert done.status == 0, done
    assert f"binds were left out: {tmp_path}:/host" in done.err
    assert "in this machine's network" in done.err
    found = nspawn.container("box")["settings"]
    assert (found["binds"], found["rootfs"], found["storage"]) == ([], "", "")
    assert (found["restart"]["policy"], found["network"]["on_down"]) == ("no", "block")
    assert nspawn("import", "-", stdin=data).status == 1
    assert nspawn("import", "-", "other", "--trusted", stdin=data).status == 0
    found = nspawn.container("other")["settings"]
    assert (found["binds"], found["rootfs"], found["storage"]) == ([f"{tmp_path}:/host"], "", "/sdcard")
    assert (found["restart"]["policy"], found["network"]["on_down"]) == ("always", "fallback")


def test_a_reader_that_reads_nothing_does_not_hold_it_for_ever(
    writer: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_PATIENCE", 0.5)
    reader, sink = os.pipe()
    try:
        with pytest.raises(NspawnError, match="nobody has taken"):
            Containers(Layout(str(writer.root))).export("box", sink, lambda _step: None, lambda: False)
    finally:
        os.close(reader)
        os.close(sink)
    assert writer.state("box")["frozen"] == ""
    assert moves_on(writer, numbers(rootfs(writer, "box"))[-1])


def test_what_cannot_be_started_is_there_all_the_same(nspawn: Named, tmp_path: Path) -> None:
    bind = f"{tmp_path}/gone:/mnt"
    archive = tmp_path / "one.tar.xz"
    for name, made, words in (
        ("one", "created", ["create", "one", "--image", "builtin", "--bind", bind]),
        ("two", "made", ["clone", "one", "two"]),
        ("three", "imported", ["import", "--trusted", archive, "three"]),
    ):
        if made == "imported":
            nspawn.ok("export", "one", archive)
        result = nspawn(*words, "--start")
        assert result.status == 1, str(result)
        assert f"{name} was {made}, but not started: " in result.err
        assert f"{tmp_path}/gone" in result.err
        assert nspawn.ok("info", name).out
