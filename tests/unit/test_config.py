from __future__ import annotations

from pathlib import Path

import pytest

from nspawn.layout import Layout
from nspawn.model.netconfig import NetConfig
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


def test_the_network(tmp_path: Path) -> None:
    assert load(tmp_path, "").network == NetConfig()
    found = load(
        tmp_path,
        "[network]\nsubnet = '192.168.77.0/24'\norder = ['mobile', 'wifi']\n"
        "ipv6 = 'off'\ndns = ['9.9.9.9']\n",
    )
    assert found.network == NetConfig(
        subnet="192.168.77.0/24", order=("mobile", "wifi"), ipv6="off", dns=("9.9.9.9",)
    )
    assert (found.problem, found.network_problem) == (None, None)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("subnet = '10.11.0.0/30'", "subnet"),
        ("subnet = 7", "subnet"),
        ("subnet6 = 'fd11::/48'", "subnet6"),
        ("order = []", "order"),
        ("order = ['wifi', 'no such/thing']", "order"),
        ("rule_base = 9000", "rule_base"),
        ("ipv6 = 'on'", "ipv6"),
        ("dns = ['dns.example']", "dns"),
        ("allow_page = 1", "allow_page"),
        ("bridge = 'a-name-that-is-too-long'", "bridge"),
        ("bridges = 'x'", "bridges"),
    ],
)
def test_a_wrong_network_is_told_by_its_key_and_costs_nothing_else(
    tmp_path: Path, line: str, key: str
) -> None:
    found = load(
        tmp_path,
        f"[page]\nport = 81\n[network]\nallow_page = true\n{line}\n".replace(
            "allow_page = true\nallow_page", "allow_page"
        ),
    )
    assert (found.port, found.network, found.problem) == (81, NetConfig(), None)
    assert str(found.network_problem).startswith(f"{tmp_path}/config.toml: network.{key}: ")


@pytest.mark.parametrize("text", ["[[[", "\0", "page = 1", "[page]\nport = 70000"])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    found = load(tmp_path, text)
    assert found.problem is not None
    assert found.port == 8080
