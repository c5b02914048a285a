from __future__ import annotations

import fcntl
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from nspawn.container import state
from nspawn.errors import Conflict, Damaged, NotFound, NotRunning, NspawnError, UsageError
from nspawn.images import builtin
from nspawn.kernel import process
from nspawn.layout import Layout
from nspawn.model.progress import Cancelled, Progress
from nspawn.model.record import Record
from nspawn.model.settings import Autostart, Settings
from nspawn.service import daemon
from nspawn.service.containers import Builtin, Containers, CreateRequest, Folder, Tarball

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nspawn.container.client import Client

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers are root's")


class FakeClient:
    """A spawner that remembers what it was asked.  alive: whether there is one at all."""

    def __init__(self) -> None:
        self.alive = True
        self.asked: list[Record] = []
        self.live: dict[str, Record] = {}
        self.refuses: NspawnError | None = None

    def call(self, operation: str, fields: Iterable[tuple[str, Any]] = ()) -> Record:
        if not self.alive:
            raise NotRunning("the spawner is not running")
        record = Record([("op", operation), *fields])
        self.asked.append(record)
        if self.refuses:
            raise self.refuses
        if operation == "start":
            name = record.text("name")
            self.live[name] = Record([("name", name), ("state", "running"), ("pid", 7), ("started", 1.0)])
        return Record((("ok", 1),))

    def call_many(self, operation: str, fields: Iterable[tuple[str, Any]] = ()) -> list[Record]:
        self.call(operation, fields)
        return list(self.live.values())


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "root"))


@pytest.fixture
def containers(layout: Layout, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Containers:
    monkeypatch.setattr(daemon, "ensure", lambda _layout, _client: None)
    # Real, but too slow for every test: a whole-machine sync.
    monkeypatch.setattr(os, "sync", lambda: None)
    return Containers(layout, cast("Client", client))


def rootfs(path: Path) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin/sh").write_text("#!")
    (path / "bin/sh").chmod(0o755)
    return path


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("bin/sh")
        entry.mode = 0o755
        tar.addfile(entry)
    return file.getvalue()


def make(containers: Containers, name: str, source: Any, settings: Settings | None = None) -> None:
    containers.create(
        CreateRequest(name=name, source=source, settings=settings or Settings()),
        lambda _step: None,
        lambda: False,
    )


def names(layout: Layout) -> list[str]:
    return sorted(os.listdir(layout.containers))


def test_builtin(containers: Containers, client: FakeClient, layout: Layout) -> None:
    try:
        builtin.find_busybox(os.uname().machine)
    except NspawnError:
        pytest.skip("needs a static busybox")
    make(containers, "box", Builtin())
    found = containers.get("box")
    assert (found.settings.image, found.rootfs) == ("builtin", layout.rootfs("box"))
    assert os.path.isfile(f"{found.rootfs}/bin/busybox")
    assert client.asked[0].text("op") == "changed"
    assert names(layout) == ["box"]


def test_tarball_from_a_file_and_a_stream(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(archive())
    make(containers, "a", Tarball(str(tmp_path / "image.tar")))
    make(containers, "b", Tarball(io.BytesIO(archive())))
    assert containers.get("a").settings.image == "image.tar"
    assert os.path.isfile(f"{layout.rootfs('b')}/bin/sh")


def test_a_folder_stays_the_users(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    tree = rootfs(tmp_path / "tree")
    (tmp_path / "link").symlink_to(tree)
    make(containers, "box", Folder(str(tmp_path / "link")))
    assert containers.get("box").rootfs == str(tree)
    assert sorted(os.listdir(layout.container("box"))) == ["container.toml", "container.toml.good"]
    containers.remove("box")
    assert names(layout) == []
    assert (tree / "bin/sh").exists()


def test_folders_that_cannot_be_a_rootfs(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.makedirs(f"{layout.root}/containers/other")
    for path, kind in (
        ("/", UsageError),
        (str(tmp_path), UsageError),
        (layout.root, UsageError),
        (f"{layout.root}/containers/other", UsageError),
        ("relative", UsageError),
        (str(tmp_path / "missing"), NotFound),
        (str(tmp_path / "empty"), Damaged),
    ):
        with pytest.raises(kind):
            make(containers, "box", Folder(path))
    assert names(layout) == ["other"]


@pytest.mark.parametrize(
    "name", ["", "..", "-x", "a/b", "A", "x" * 64, ".creating-x", "a\0", "a\n", "\U0001f600"]
)
def test_bad_names_make_nothing(containers: Containers, layout: Layout, name: str) -> None:
    with pytest.raises(UsageError):
        make(containers, name, Builtin())
    assert not os.path.exists(layout.root)


def test_a_name_is_taken_once(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    tree = rootfs(tmp_path / "tree")
    make(containers, "box", Folder(str(tree)))
    before = Path(layout.settings("box")).read_bytes()
    with pytest.raises(Conflict, match="already"):
        make(containers, "box", Folder(str(tree)))
    assert Path(layout.settings("box")).read_bytes() == before
    assert names(layout) == ["box"]


def test_a_name_being_made_is_taken(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    tree = rootfs(tmp_path / "tree")
    os.makedirs(f"{layout.containers}/.creating-box")
    held = os.open(f"{layout.containers}/.creating-box", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(Conflict, match="being created"):
        make(containers, "box", Folder(str(tree)))
    assert names(layout) == [".creating-box"]
    os.close(held)
    make(containers, "box", Folder(str(tree)))
    assert names(layout) == ["box"]


def test_nothing_is_left_of_a_failure(containers: Containers, layout: Layout) -> None:
    with pytest.raises(Damaged):
        make(containers, "box", Tarball(io.BytesIO(archive()[:700])))
    with pytest.raises(NotFound):
        make(containers, "box", Tarball("/nowhere.tar"))
    with pytest.raises(UsageError):
        make(containers, "box", Tarball("/dev/zero"))
    assert names(layout) == []


def test_cancel_at_any_step_leaves_nothing(containers: Containers, layout: Layout) -> None:
    count = 0
    while True:
        asked = 0

        def cancelled() -> bool:
            nonlocal asked
            asked += 1
            return asked > count  # noqa: B023

        try:
            containers.create(
                CreateRequest(name="box", source=Tarball(io.BytesIO(archive()))),
                lambda _step: None,
                cancelled,
            )
            break
        except Cancelled:
            assert names(layout) == []
        count += 1
    assert count >= 3
    assert names(layout) == ["box"]


def test_an_interrupt_leaves_nothing(containers: Containers, layout: Layout) -> None:
    def report(step: Progress) -> None:
        if step.phase == "saving":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        containers.create(
            CreateRequest(name="box", source=Tarball(io.BytesIO(archive()))), report, lambda: False
        )
    assert names(layout) == []


def test_start_sends_what_the_settings_say(
    containers: Containers, client: FakeClient, layout: Layout, tmp_path: Path
) -> None:
    tree = rootfs(tmp_path / "tree")
    make(containers, "box", Folder(str(tree)))
    containers.update("box", {"command": "/bin/x y", "env.A": "1", "stop_signal": "INT", "restart": "always"})
    found = containers.start("box")
    assert (found.state.state, found.state.pid) == ("running", 7)
    request = next(record for record in client.asked if record.text("op") == "start")
    assert request.text("rootfs") == str(tree)
    assert request.all("arg") == [b"/bin/x", b"y"]
    assert request.all("env") == [b"A=1"]
    assert (request.integer("stop-signal"), request.number("stop-time")) == (2, 10.0)
    assert (request.text("restart"), request.text("hostname")) == ("always", "box")


def test_start_refuses_what_cannot_run(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        containers.start("none")
    tree = rootfs(tmp_path / "tree")
    make(containers, "box", Folder(str(tree)))
    tree.rename(tmp_path / "gone")
    with pytest.raises(NotFound, match="not there"):
        containers.start("box")
    Path(layout.settings("box")).write_text("version = 99\n")
    with pytest.raises(UsageError, match="version 99"):
        containers.start("box")
    assert Path(layout.settings("box")).read_text() == "version = 99\n"


def test_a_damaged_container_starts_from_the_good_copy_and_says_so(
    containers: Containers, layout: Layout, tmp_path: Path
) -> None:
    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    Path(layout.settings("box")).write_bytes(b"\0" * 100)
    found = containers.start("box")
    assert found.state.state == "running"
    assert isinstance(found.damaged, Damaged)
    assert [each.name for each in containers.list()] == ["box"]
    repaired = containers.update("box", {"env.A": "1"})
    assert repaired.damaged is None
    assert repaired.settings.env == {"A": "1"}


def test_update_refuses_to_swap_the_rootfs_of_its_own(containers: Containers, tmp_path: Path) -> None:
    tree, other = rootfs(tmp_path / "tree"), rootfs(tmp_path / "other")
    make(containers, "own", Tarball(io.BytesIO(archive())))
    make(containers, "box", Folder(str(tree)))
    with pytest.raises(UsageError):
        containers.update("own", {"rootfs": str(tree)})
    with pytest.raises(UsageError):
        containers.update("box", {"rootfs": ""})
    assert containers.update("box", {"rootfs": str(other)}).rootfs == str(other)


def test_rename_takes_its_followers_along(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    tree = rootfs(tmp_path / "tree")
    make(containers, "a", Folder(str(tree)))
    make(containers, "b", Folder(str(tree)), Settings(autostart=Autostart(after=("a", "c"))))
    containers.rename("a", "z")
    assert names(layout) == ["b", "z"]
    assert containers.get("b").settings.autostart.after == ("z", "c")
    with pytest.raises(Conflict):
        containers.rename("z", "b")
    with pytest.raises(NotFound):
        containers.rename("a", "y")
    with pytest.raises(UsageError):
        containers.rename("z", "../y")


def test_what_runs_is_neither_renamed_nor_removed(
    containers: Containers, client: FakeClient, layout: Layout, tmp_path: Path
) -> None:
    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    client.refuses = Conflict("box is running")
    with pytest.raises(Conflict, match="running"):
        containers.remove("box")
    with pytest.raises(Conflict, match="running"):
        containers.rename("box", "other")
    assert names(layout) == ["box"]


def test_without_a_spawner_the_saved_state_counts(
    containers: Containers, client: FakeClient, layout: Layout, tmp_path: Path
) -> None:
    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    client.alive = False
    fields: list[tuple[str, Any]] = [
        ("state", "running"),
        ("pid", os.getpid()),
        ("started", 5.0),
        ("boot-id", process.boot_id()),
    ]
    state.write(layout, "box", Record([*fields, ("start-time", process.start_time(os.getpid()))]))
    found = containers.get("box").state
    assert (found.state, found.pid, found.supervised) == ("running", os.getpid(), False)
    with pytest.raises(Conflict, match="running"):
        containers.remove("box")
    for wrong in ([*fields, ("start-time", 1)], [*fields[:3], ("boot-id", "another"), ("start-time", 0)]):
        state.write(layout, "box", Record(wrong))
        assert containers.get("box").state.state == "stopped"
    Path(layout.run_state("box")).write_bytes(b"\0\0\0")
    assert containers.get("box").state.state == "stopped"
    with pytest.raises(Conflict, match="not running"):
        containers.stop("box")
    containers.remove("box")


def test_kill_knows_signals(containers: Containers, client: FakeClient, tmp_path: Path) -> None:
    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    containers.start("box")
    containers.kill("box", "usr1")
    assert [record.integer("signal") for record in client.asked if record.text("op") == "kill"] == [10]
    for wrong in ("", "NOPE", "0", "99", "-1", "TERM+1"):
        with pytest.raises(UsageError):
            containers.kill("box", wrong)


def test_the_log_is_the_end_of_both_halves(containers: Containers, layout: Layout, tmp_path: Path) -> None:
    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    assert containers.log("box", 100) == b""
    Path(f"{layout.console_log('box')}.1").write_bytes(b"older ")
    Path(layout.console_log("box")).write_bytes(b"newer")
    assert containers.log("box", 100) == b"older newer"
    assert containers.log("box", 7) == b"r newer"
    assert containers.log("box", 2) == b"er"
    Path(layout.console_log("box")).unlink()
    Path(layout.console_log("box")).symlink_to("/etc/passwd")
    assert containers.log("box", 100) == b"older "


def test_dictionaries_are_json_ready(containers: Containers, tmp_path: Path) -> None:
    import json

    make(containers, "box", Folder(str(rootfs(tmp_path / "tree"))))
    found = json.loads(json.dumps(containers.get("box").as_dict()))
    assert found["state"]["state"] == "stopped"
    assert found["settings"]["autostart"]["enabled"] is False
    assert found["damaged"] is None
