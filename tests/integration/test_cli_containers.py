"""Named containers from create to rm, as a person types it, looked at from outside."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nspawn.container.client import Client
from nspawn.layout import Layout
from nspawn.service.containers import Containers
from tests.support import processes
from tests.support.command import run
from tests.support.daemon import free_port
from tests.support.named import Named, named

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def nspawn(tmp_path: Path) -> Iterator[Named]:
    with named(tmp_path) as program:
        yield program


@pytest.fixture
def box(nspawn: Named) -> Named:
    """A container `box` that sleeps."""
    nspawn.ok("create", "box", "--image", "builtin", "--command", "sleep 1000")
    return nspawn


def test_a_life(nspawn: Named) -> None:
    assert nspawn.ok("list").out == ""
    assert nspawn.ok("create", "box", "--image", "builtin", "--env", "A=b c").out == "created box\n"
    assert nspawn.state("box")["state"] == "stopped"
    assert not nspawn.spawners()
    assert nspawn.ok("start", "box").out == "box: running\n"
    state = nspawn.state("box")
    assert processes.alive(state["pid"])
    assert state["started"] == pytest.approx(time.time(), abs=30)
    assert "box   running" in nspawn.ok("list").out
    inside = nspawn("exec", "box", "sh", "-c", 'echo "$A"; hostname; exit 7')
    assert (inside.out, inside.status) == ("b c\nbox\n", 7)
    assert nspawn("rm", "box").status == 1
    assert nspawn("rename", "box", "other").status == 1
    old = state["pid"]
    nspawn.ok("restart", "box")
    assert nspawn.state("box")["pid"] != old
    assert not processes.alive(old)
    nspawn.ok("stop", "box", "--time", "1")
    assert nspawn.state("box")["state"] == "stopped"
    assert nspawn("stop", "box").status == 1
    nspawn.ok("rename", "box", "other")
    nspawn.ok("start", "other")
    nspawn.ok("kill", "other")
    assert nspawn.state("other")["exit"] == "killed"
    nspawn.ok("rm", "other")
    assert nspawn.names() == []
    assert os.listdir(nspawn.folder()) == []
    nspawn.ok("shutdown")
    assert processes.wait_until(lambda: not nspawn.spawners(), 5)


def test_everything_is_for_root_only(box: Named) -> None:
    box.ok("start", "box")
    for path in (box.root, box.folder(), box.folder("box"), box.root / "run"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((box.folder("box") / "container.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE((box.folder("box") / "rootfs").stat().st_mode) == 0o755


def test_the_streams_of_a_command(box: Named) -> None:
    box.ok("start", "box")
    result = box("exec", "box", "sh", "-c", "cat; echo err >&2", stdin=b"in\n")
    assert (result.out, result.err) == ("in\n", "err\n")
    assert box("exec", "box", "--", "true").status == 0
    assert box("exec", "box", "kill -9 $$").status == 127
    assert box("exec", "box", "sh", "-c", "kill -9 $$").status == 137
    assert (
        box("exec", "--user", "nobody", "--workdir", "/tmp", "box", "sh", "-c", "id -un; pwd").out
        == "nobody\n/tmp\n"
    )
    assert box("exec", "box").status == 2


def test_logs(nspawn: Named) -> None:
    script = r"for i in 1 2 3; do echo line $i; done; printf '\033[31mred\033[6n\033]0;t\007\n'; sleep 1000"
    nspawn.ok("create", "box", "--image", "builtin", "--command", f'sh -c "{script}"', "--start")
    assert processes.wait_until(lambda: "red" in nspawn.ok("logs", "box").out, 5)
    assert nspawn.ok("logs", "box").out == "line 1\nline 2\nline 3\n\x1b[31mred\n"
    assert nspawn.ok("logs", "box", "-n", "2").out == "line 3\n\x1b[31mred\n"
    assert "\x1b[6n" in nspawn.ok("logs", "box", "--raw").out
    assert nspawn("logs", "none").status == 1


def test_logs_are_followed_through_a_restart(nspawn: Named) -> None:
    nspawn.ok(
        "create",
        "box",
        "--image",
        "builtin",
        "--command",
        "sh -c 'echo begin $$; read x; echo got $x; sleep 1000'",
    )
    nspawn.ok("start", "box")
    with subprocess.Popen(
        [nspawn.path, "logs", "-f", "box"],
        env=nspawn.environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as follower:
        assert follower.stdout is not None
        try:
            assert follower.stdout.readline().startswith(b"begin")
            nspawn.ok("restart", "box", "--time", "0")
            assert follower.stdout.readline().startswith(b"begin")
            nspawn.ok("stop", "box", "--time", "0")
            nspawn.ok("rm", "box")
            assert follower.wait(10) == 0
            assert follower.stdout.read() == b""
        finally:
            follower.kill()


def test_following_can_be_stopped_from_another_thread(box: Named) -> None:
    containers = Containers(Layout(str(box.root)))
    for start in (False, True):
        if start:
            box.ok("start", "box")
        follow = containers.follow("box")
        with follow as chunks:
            timer = threading.Timer(0.2, follow.stop)
            timer.start()
            assert b"".join(chunks) == b""
            timer.join()
        follow.stop()  # once more, when it has ended


def test_a_new_follower_gets_history_and_what_comes(nspawn: Named) -> None:
    nspawn.ok(
        "create",
        "box",
        "--image",
        "builtin",
        "--command",
        "sh -c 'stty -echo; echo first; read x; echo got $x'",
    )
    nspawn.ok("start", "box")
    assert processes.wait_until(lambda: "first" in nspawn.ok("logs", "box").out, 5)
    layout = Layout(str(nspawn.root))
    follow = Containers(layout).follow("box")
    seen = b""
    with follow as chunks:
        for chunk in chunks:
            seen += chunk
            if seen == b"first\r\n":
                with Client(layout).attach("box") as attached:
                    attached.send_input(b"more\n")
            if b"got" in seen:
                follow.stop()
    assert seen == b"first\r\ngot more\r\n"
    assert Containers(layout).log("box", 1000) == seen


def test_a_folder_of_the_users(nspawn: Named, busybox: Path) -> None:
    nspawn.ok("create", "box", "--rootfs", busybox, "--command", "sleep 1000", "--start")
    assert nspawn.container("box")["rootfs"] == str(busybox)
    nspawn.ok("stop", "box", "--time", "0")
    before = sorted(str(path) for path in busybox.rglob("*"))
    assert str(busybox) in nspawn.ok("rm", "box").out
    assert sorted(str(path) for path in busybox.rglob("*")) == before


def test_an_archive_from_a_file_and_from_standard_input(nspawn: Named, busybox: Path, tmp_path: Path) -> None:
    packed = subprocess.run(
        ["tar", "-C", busybox, "-cJf", "-", "."], stdout=subprocess.PIPE, check=True
    ).stdout
    (tmp_path / "box.tar.xz").write_bytes(packed)
    result = nspawn.ok("create", "one", "--tar", tmp_path / "box.tar.xz", "--start")
    assert "unpacking" in result.err
    assert nspawn("create", "two", "--tar", "-", "--start", stdin=packed).status == 0
    assert nspawn("exec", "two", "true").status == 0
    cut = nspawn("create", "three", "--tar", "-", stdin=packed[:-200])
    assert cut.status == 1
    assert nspawn.names() == ["one", "two"]
    assert sorted(os.listdir(nspawn.folder())) == ["one", "two"]


def test_a_hostile_archive_leaves_the_host_alone(nspawn: Named, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    for name, kind, to in (
        ("../../../../../../../../../../" + str(kept), tarfile.REGTYPE, ""),
        (str(kept), tarfile.REGTYPE, ""),
        (".", tarfile.SYMTYPE, "/"),
        ("rootfs", tarfile.SYMTYPE, str(tmp_path)),
        ("x", tarfile.LNKTYPE, str(kept)),
    ):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            shell = tarfile.TarInfo("bin/sh")
            shell.mode = 0o755
            archive.addfile(shell)
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, to, 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"evil"))
            inner = tarfile.TarInfo(f"{name}/kept")
            inner.size = 4
            if kind == tarfile.SYMTYPE:
                archive.addfile(inner, io.BytesIO(b"evil"))
        result = nspawn("create", "box", "--tar", "-", stdin=file.getvalue())
        assert kept.read_text() == "kept", name
        assert kept.stat().st_nlink == 1
        if result.status == 0:
            nspawn.ok("rm", "box")
        assert os.listdir(nspawn.folder()) == []


@pytest.mark.parametrize("phase", ["unpacking", "making the root file system", "saving"])
def test_a_killed_create_leaves_nothing_that_stays(
    nspawn: Named, busybox: Path, tmp_path: Path, phase: str
) -> None:
    source: list[str | Path] = ["--image", "builtin"]
    if phase == "unpacking":
        os.mkfifo(tmp_path / "slow")
        source = ["--tar", "-"]
    with subprocess.Popen(
        [str(word) for word in (nspawn.path, "create", "box", *source)],
        env=nspawn.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        packed = subprocess.run(
            ["tar", "-C", busybox, "-cf", "-", "."], stdout=subprocess.PIPE, check=True
        ).stdout
        if phase == "unpacking":
            process.stdin.write(packed[: len(packed) // 2])
            process.stdin.flush()
        for line in process.stderr:
            if line.startswith(phase.encode()):
                break
        os.kill(process.pid, signal.SIGKILL)
    assert nspawn.names() in ([], ["box"])
    if not nspawn.names():
        nspawn.ok("create", "box", "--image", "builtin")
    assert os.listdir(nspawn.folder()) == ["box"]
    nspawn.ok("start", "box")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_create_leaves_nothing(nspawn: Named, number: signal.Signals) -> None:
    with subprocess.Popen(
        [nspawn.path, "create", "box", "--tar", "-"],
        env=nspawn.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        entry = tarfile.TarInfo("x")
        process.stdin.write(entry.tobuf() * 1024)
        process.stdin.flush()
        assert process.stderr.readline().startswith(b"unpacking")
        assert os.listdir(nspawn.folder()) == [".creating-box"]
        process.send_signal(number)
        assert process.wait(10) == 130
        assert b"cancelled" in process.stderr.read()
    assert os.listdir(nspawn.folder()) == []


def test_rm_refuses_with_a_mount_below(box: Named, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_text("dear")
    target = box.folder("box") / "rootfs/mnt"
    run(["mount", "--bind", str(photos), str(target)])
    try:
        result = box("rm", "box")
        assert result.status == 1
        assert f"umount {target}" in result.err
        assert (photos / "one.jpg").read_text() == "dear"
        assert box.names() == ["box"]
    finally:
        run(["umount", str(target)])
    box.ok("rm", "box")
    assert (photos / "one.jpg").read_text() == "dear"


def test_rm_follows_no_link(box: Named, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (box.folder("box") / "rootfs/link").symlink_to(tmp_path / "kept")
    (box.folder("box") / "link").symlink_to("/etc")
    box.ok("rm", "box")
    assert (tmp_path / "kept/file").exists()
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\0" * 4096, "NUL"),
        (b"version = 1\nimage = ", "good copy"),
        (b"version = 1\n", "cut off"),
        (b'version = 1\nboot = "x"\n', "boot: expected true or false"),
    ],
)
def test_damaged_settings_are_told_and_the_good_copy_used(box: Named, content: bytes, says: str) -> None:
    (box.folder("box") / "container.toml").write_bytes(content)
    shown = box("list")
    assert shown.status == 0
    assert "box" in shown.out
    assert says in shown.err
    assert says in box.container("box")["damaged"]["why"]
    box.ok("start", "box")
    assert "sleep" in processes.command_line(box.state("box")["pid"])[0]


def test_settings_from_the_future_are_refused_and_kept(box: Named) -> None:
    path = box.folder("box") / "container.toml"
    path.write_text('version = 99\nfuture = "yes"\n')
    for words in (("start", "box"), ("set", "box", "boot=true")):
        result = box(*words)
        assert result.status == 1
        assert "version 99" in result.err
    assert path.read_text() == 'version = 99\nfuture = "yes"\n'
    assert "damaged" in box.ok("list").out
    assert box("rm", "box").status == 0


def test_set(box: Named) -> None:
    box.ok("set", "box", "env.A=1", "autostart.order=3", "binds=/etc:/mnt/etc:ro", "stop_time=2")
    text = (box.folder("box") / "container.toml").read_text()
    assert 'A = "1"' in text
    assert box.container("box")["settings"]["stop_time"] == 2.0
    for wrong in ("nope=1", "env.A-=1", "binds=/a:b", "autostart.order=x", "=1", "boot"):
        assert box("set", "box", wrong).status == 2, wrong
    assert (box.folder("box") / "container.toml").read_text() == text
    box.ok("start", "box")
    assert "old settings" in box.ok("set", "box", "env.A=2").err
    assert box("exec", "box", "cat", "/mnt/etc/hostname").out == Path("/etc/hostname").read_text()


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD)
def test_odd_names_make_no_file(nspawn: Named, name: str) -> None:
    result = nspawn("create", "--image", "builtin", "--", name)
    if result.status == 0:
        assert nspawn.names() == [name]
        nspawn.ok("rm", "--", name)
    else:
        assert result.status == 2
        assert result.err.startswith("nspawn: ")
    assert not nspawn.folder().exists() or os.listdir(nspawn.folder()) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), ODD, min_size=1, max_size=3)
)
def test_odd_environments_arrive_as_they_are(nspawn: Named, environment: dict[str, str]) -> None:
    environment = {f"X{key}": value for key, value in environment.items()}
    if "box" not in (nspawn.names() if nspawn.folder().exists() else []):
        nspawn.ok("create", "box", "--image", "builtin", "--command", "sleep 1000")
    nspawn.ok("set", "box", f"env={json.dumps(environment)}")
    nspawn.ok("start", "box")
    try:
        pid = nspawn.state("box")["pid"]
        found = dict(
            part.split("=", 1)
            for part in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            if "=" in part
        )
        assert {key: found.get(key) for key in environment} == environment
    finally:
        nspawn.ok("stop", "box", "--time", "0")


def test_boot_in_order(nspawn: Named) -> None:
    for name, options in (
        ("a", ["autostart=true", "autostart.after=b"]),
        ("b", ["autostart=true", "autostart.order=5"]),
        ("c", ["autostart=true", "autostart.order=-1", "autostart.delay=0.5"]),
        ("d", []),
        ("e", ["autostart=true", "autostart.after=f"]),
        ("f", ["autostart=true", "autostart.after=e"]),
    ):
        words = [word for option in options for word in ("--set", option)]
        nspawn.ok("create", name, "--image", "builtin", "--command", "sleep 1000", *words)
    result = nspawn("boot", "--wait")
    assert result.status == 1
    # A delay holds back only what it is for, and what comes after that.
    assert result.lines == ["b: started", "a: started", "c: waits for its delay of 0.5 s", "c: started"]
    assert "e was not started: these wait for each other: e, f" in result.err
    times = [nspawn.state(name)["started"] for name in ("b", "a", "c")]
    assert times == sorted(times)
    assert nspawn.state("d")["state"] == "stopped"
    for name in ("e", "f"):
        nspawn.ok("set", name, "autostart=false")
    again = nspawn.ok("boot")
    assert (again.lines, "Nothing is left to start" in again.err) == ([], True)


def test_many_starts_at_once_make_one_spawner(nspawn: Named) -> None:
    names = [f"box{number}" for number in range(8)]
    for name in names:
        nspawn.ok("create", name, "--image", "builtin", "--command", "sleep 1000")
    started = [
        subprocess.Popen(
            [nspawn.path, "start", name],
            env=nspawn.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for name in names
    ]
    for process in started:
        out, _none = process.communicate(timeout=60)
        assert process.returncode == 0, out
    assert [nspawn.state(name)["state"] for name in names] == ["running"] * 8
    keepers = [pid for pid in nspawn.spawners() if processes.parent(pid) not in nspawn.spawners()]
    assert len(keepers) == 1


def test_containers_survive_their_spawner(box: Named) -> None:
    box.ok("start", "box")
    before = box.state("box")
    for pid in box.spawners():
        os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not box.spawners(), 5)
    if processes.alive(before["pid"]):
        state = box.state("box")
        assert (state["state"], state["pid"], state["supervised"]) == ("running", before["pid"], False)
        assert box("rm", "box").status == 1
    box("stop", "box", "--time", "0")
    assert box.state("box")["state"] == "stopped"
    assert processes.gone(before["pid"])


def test_the_page_is_handed_a_code_only_where_it_is_ours(tmp_path: Path) -> None:
    port = free_port()
    with named(tmp_path, port) as nspawn:
        address = nspawn.ok("login").out.strip()
        assert address.startswith(f"http://127.0.0.1:{port}/login#")
        assert address.partition("#")[2] not in (nspawn.root / "run").joinpath("spawner.log").read_text()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, named(tmp_path, server.getsockname()[1]) as nspawn:
        result = nspawn("login")
        assert result.status == 1
        assert f"port {server.getsockname()[1]} is taken by " in result.err
        assert nspawn("create", "box", "--image", "builtin", "--start").status == 0


def test_the_token(nspawn: Named) -> None:
    token = nspawn.ok("token").out
    assert nspawn.ok("token").out == token
    assert nspawn.ok("token", "rotate").out != token
    assert stat.S_IMODE((nspawn.root / "token").stat().st_mode) == 0o600


def test_doctor(nspawn: Named) -> None:
    assert "Namespaces" in nspawn.ok("doctor").out
    found = nspawn.json("doctor", "--json")
    assert isinstance(found, dict)
    assert found["kernel"] == os.uname().release


def test_serve_twice_is_refused(nspawn: Named) -> None:
    with subprocess.Popen(
        [nspawn.path, "serve", "--no-page"],
        env=nspawn.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        assert processes.wait_until((nspawn.root / "run/control.sock").exists, 10)
        second = nspawn("serve", "--no-page")
        assert second.status == 1
        assert "runs already" in second.err
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 0


def test_usage_errors(nspawn: Named) -> None:
    for words in (
        ("create",),
        ("create", "box"),
        ("create", "box", "--image", "builtin", "--tar", "x"),
        ("create", "box", "--image", "de bian"),
        ("create", "box", "--image", "builtin", "--set", "image=x"),
        ("create", "box", "--image", "builtin", "--env", "1A=x"),
        ("create", "box", "--image", "builtin", "--bind", "a:b"),
        ("start",),
        ("start", "a", "b"),
        ("stop", "box", "--time", "-1"),
        ("stop", "box", "--time", "nan"),
        ("logs", "box", "-n", "-1"),
        ("token", "other"),
        ("list", "--jso"),
    ):
        result = nspawn(*words)
        assert result.status == 2, (words, str(result))
        assert result.err.startswith("nspawn: ")
    for words in (
        ("start", "none"),
        ("stop", "none"),
        ("info", "none"),
        ("rm", "none"),
        ("exec", "none", "true"),
    ):
        assert nspawn(*words).status == 1, words
    assert nspawn("create", "--help").status == 0
