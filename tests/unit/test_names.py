"""Names of containers and hosts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model.names import host_name, is_container_name, parse_container_name, parse_host_name


@given(st.one_of(st.text(), st.from_regex(r"[a-z0-9_.-]{0,70}")))
def test_the_hand_written_check_is_the_expression_of_the_design(name: str) -> None:
    assert is_container_name(name) == bool(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", name))


@pytest.mark.parametrize("name", ["", "..", ".", "-x", "a b", "a/b", "a\n", "a\0", "ü", "A", "x" * 64, "😀"])
def test_a_bad_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        parse_container_name(name)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("debian_trixie", "debian-trixie"),
        ("Debian 13", "Debian13"),
        ("_a_", "a"),
        ("", "nspawn"),
        ("...", "nspawn"),
        ("ü", "nspawn"),
        ("x" * 80, "x" * 63),
        ("a.b-c", "a.b-c"),
    ],
)
def test_a_host_name_is_made_of_a_folders_name(folder: str, expected: str) -> None:
    assert host_name(folder) == expected


@given(st.text())
def test_any_folder_gives_a_valid_host_name(folder: str) -> None:
    name = host_name(folder)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", name)
    assert parse_host_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a_b", "a b", "x" * 64, "a\n", "ü"])
def test_a_bad_host_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        parse_host_name(name)
