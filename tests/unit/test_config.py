from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.layout import Layout
from nspawn.service import config, page


def load(folder: Path, text: str) -> config.Config:
    (folder / "config.toml").write_text(text)
    return config.load(Layout(str(folder)))


def test_the_defaults(tmp_path: Path) -> None:
    found = config.load(Layout(str(tmp_path)))
    assert (found.port, found.power.active, found.problem, found.power_problem) == (8080, False, None, None)


def test_everything_at_once(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "version = 1\n[page]\nport = 81\n[power]\nfreeze_above = 45.0\nthaw_below = 42\n"
        "freeze_below_charge = 15\nthaw_above_charge = 20\n",
    )
    assert found.port == 81
    assert found.power.as_dict() == {
        "freeze_above": 45.0,
        "thaw_below": 42.0,
        "freeze_below_charge": 15,
        "thaw_above_charge": 20,
    }
    assert found.problem is None
    assert found.power_problem is None


def test_a_newer_version_is_told_left_alone_and_the_defaults_are_used(tmp_path: Path) -> None:
    text = "version = 2\n[page]\nport = 81\nnew = 'shape'\n"
    found = load(tmp_path, text)
    assert found.port == 8080
    assert "a newer nspawn wrote it" in str(found.problem)
    assert (tmp_path / "config.toml").read_text() == text
    assert page.addresses_or_none(Layout(str(tmp_path))) == page.addresses(8080)


@pytest.mark.parametrize(
    "rules",
    [
        "freeze_above = 'hot'",
        "freeze_above = 500",
        "freeze_above = -1",
        "freeze_above = true",
        "freeze_above = nan",
        "freeze_below_charge = 101",
        "freeze_below_charge = 1.5",
        "freeze_above = 45\nthaw_below = 46",
        "freeze = 45",
    ],
)
def test_wrong_rules_are_told_and_cost_the_rules_only(tmp_path: Path, rules: str) -> None:
    found = load(tmp_path, f"[page]\nport = 81\n[power]\n{rules}\n")
    assert (found.port, found.power.active, found.problem) == (81, False, None)
    assert "config.toml: power." in str(found.power_problem)


@pytest.mark.parametrize("text", ["[[[", "\0", "page = 1", "[page]\nport = 70000"])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    found = load(tmp_path, text)
    assert found.problem is not None
    assert found.port == 8080
