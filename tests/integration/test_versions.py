"""Update, downgrade and reinstallation, at the level of files: what a newer nspawn wrote is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.container import state
from nspawn.errors import Damaged
from nspawn.layout import Layout
from nspawn.model.record import Record
from tests.support.daemon import Daemon
from tests.support.program import Program


def tree(root: Path) -> dict[str, bytes]:
    """Every file that a person would miss."""
    found = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    names = {str(path.relative_to(root)): data for path, data in found.items()}
    return {name: data for name, data in names.items() if not name.startswith("run/")}


def newer(path: Path) -> bytes:
    """The file as a newer program would have written it: a higher version, and a key of its own."""
    data = path.read_text().replace("version = 1", "version = 2") + '\n[future]\nkey = "value"\n'
    path.write_text(data)
    return data.encode()


@pytest.fixture
def kept(nspawn: Program, daemon: Daemon) -> Program:
    nspawn.ok("create", "box", "--image", "builtin")
    nspawn.ok("set", "box", "autostart=true", "env.A=b")
    nspawn.ok("token")
    return nspawn


def test_settings_of_a_newer_version_are_refused_and_left(kept: Program) -> None:
    settings = Path(Layout(str(kept.root)).settings("box"))
    written = newer(settings)
    for words in (["start", "box"], ["set", "box", "autostart=false"]):
        result = kept(*words)
        assert result.status == 1, str(result)
        assert "version 2" in result.err
        assert "Update nspawn; the file was left as it is." in result.err
        assert "Traceback" not in result.err
    assert settings.read_bytes() == written
    assert "damaged" in kept.ok("list").out


def test_after_the_update_they_count_again(kept: Program) -> None:
    settings = Path(Layout(str(kept.root)).settings("box"))
    old = settings.read_bytes()
    newer(settings)
    assert kept("start", "box").status == 1
    settings.write_bytes(old)
    kept.ok("start", "box")
    kept.ok("kill", "box")


def test_a_boot_goes_on_without_it(kept: Program) -> None:
    kept.ok("create", "other", "--image", "builtin", "--autostart")
    newer(Path(Layout(str(kept.root)).settings("box")))
    result = kept("boot")
    assert "other: started" in result.out
    assert "version 2" in result.err
    kept.ok("kill", "other")


def test_a_run_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    (tmp_path / "containers/box").mkdir(parents=True)
    state.write(layout, "box", Record((("pid", 7),)))
    path = Path(layout.run_state("box"))
    path.write_bytes(path.read_bytes().replace(b"version=1", b"version=2"))
    before = path.read_bytes()
    with pytest.raises(Damaged, match="newer nspawn"):
        state.read(layout, "box")
    assert path.read_bytes() == before


def test_a_token_of_another_form_is_refused_and_left(kept: Program) -> None:
    token = kept.root / "token"
    token.write_text("version = 2\nkey = 'something else'\n")
    before = token.read_bytes()
    result = kept("token")
    assert result.status == 1
    assert "nspawn token rotate" in result.err
    assert token.read_bytes() == before


def test_a_reinstallation_finds_everything(kept: Program, tmp_path: Path) -> None:
    """An update replaces the module's folder and nothing else: the state is not in it."""
    before = tree(kept.root)
    module = tmp_path / "module"
    for version in ("1", "2"):
        module.mkdir(exist_ok=True)
        (module / "module.prop").write_text(f"id=nspawn\nversion={version}\n")
    environment = {"NSPAWN_MODULE": str(module)}
    assert kept("uninstall", environment=environment).status == 0
    for path in (module / "module.prop", module / "remove"):
        path.unlink()
    module.rmdir()
    assert tree(kept.root) == before
    assert kept("list").out.splitlines()[1].startswith("box")


def test_the_programs_settings_of_a_newer_version_are_refused_and_left(kept: Program) -> None:
    config = kept.root / "config.toml"
    config.write_text("version = 2\n[page]\nport = 1\nfuture = true\n[power]\nfreeze_above = 30.0\n")
    before = config.read_bytes()
    told = kept("doctor").out
    assert "is of version 2" in told
    assert "a newer nspawn wrote it" in told
    assert "frozen above 30" not in told
    kept.ok("start", "box")
    kept.ok("kill", "box")
    assert config.read_bytes() == before
