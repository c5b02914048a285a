"""Made-up names, variables and binds: every input is either taken exactly or refused clearly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import rootfs
from tests.support.program import Program

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
#: What a command line can carry: no NUL, no lone surrogates (they are bytes there).
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ODD = st.sampled_from(
    ["..", ".", "/", "//", ":", ":ro", "=", "-", "--", "\n", "\t", " ", "%s", "$(id)", "\x7f"]
)
PIECES = st.lists(st.one_of(TEXT, ODD), max_size=4).map("".join)


@pytest.fixture(scope="module")
def box(busybox_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rootfs.copy(busybox_base, tmp_path_factory.mktemp("fuzz") / "box")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("fuzz") / "state")


@FEW
@given(name=st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), value=PIECES)
def test_a_good_variable_arrives_unchanged(program: Program, box: Path, name: str, value: str) -> None:
    result = program("--env", f"{name}={value}", "--env", "PATH=/bin", box, "/bin/env", "-0")
    assert result.status == 0, str(result)
    if name != "PATH":
        assert f"{name}={value}" in result.out.split("\0")


@FEW
@given(text=PIECES)
def test_any_text_as_a_variable_is_taken_or_refused(program: Program, box: Path, text: str) -> None:
    result = program("--env", text, box, "/bin/env", "-0")
    assert "Traceback" not in result.err, str(result)
    if result.status == 0:
        name, _, value = text.partition("=")
        assert name.isidentifier() or name.replace("_", "a").isalnum(), str(result)
        assert f"{name}={value}" in result.out.split("\0")
    else:
        assert result.status == 2, str(result)


@FEW
@given(words=st.lists(PIECES, max_size=6))
def test_any_arguments_arrive_unchanged(program: Program, box: Path, words: list[str]) -> None:
    result = program(box, "/bin/sh", "-c", 'for w; do printf "%s\\0" "$w"; done', "sh", *words)
    assert result.status == 0, str(result)
    assert result.out.split("\0")[:-1] == words


@FEW
@given(name=PIECES)
def test_any_host_name_is_taken_or_refused(program: Program, box: Path, name: str) -> None:
    result = program("--hostname", name, box, "hostname")
    assert "Traceback" not in result.err, str(result)
    if result.status == 0:
        assert result.out == f"{name}\n"
        assert len(name.encode()) <= 64
    else:
        assert result.status == 2, str(result)
    assert (box / "etc" / "hosts").read_text().count("127.0.1.1") <= 1


@FEW
@given(
    name=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=60
    ).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
)
def test_a_rootfs_of_any_name_runs(program: Program, box: Path, name: str) -> None:
    place = box.parent / "odd" / name
    place.parent.mkdir(exist_ok=True)
    os.rename(box, place)
    try:
        result = program(place, "hostname")
    finally:
        os.rename(place, box)
    assert result.status == 0, str(result)
    assert result.out.strip().isascii()
    assert result.out.strip()


@FEW
@given(source=PIECES, target=PIECES, mode=st.sampled_from(["", ":ro", ":rw", ":x", ":"]))
def test_any_bind_is_taken_or_refused_and_stays_inside(
    program: Program, box: Path, source: str, target: str, mode: str
) -> None:
    shared = box.parent / "shared"
    shared.mkdir(exist_ok=True)
    before = sorted(os.listdir("/"))
    text = f"{shared}{source}:/{target}{mode}"
    result = program("--ephemeral", "--bind", text, box, "/bin/true")
    assert "Traceback" not in result.err, str(result)
    assert result.status in (0, 1, 2, 126, 127), str(result)
    assert sorted(os.listdir("/")) == before
    assert os.listdir(shared) == []


@FEW
@given(user=st.one_of(PIECES, st.from_regex(r"[0-9]{1,12}(:[0-9]{0,12})?", fullmatch=True)))
def test_any_user_is_taken_or_refused(program: Program, box: Path, user: str) -> None:
    result = program("--user", user, box, "id", "-u")
    assert "Traceback" not in result.err, str(result)
    if result.status == 0:
        first = user.partition(":")[0]
        expected = {"root": "0", "guest": "1000", "nobody": "65534"}.get(first) or str(int(first))
        assert result.out.strip() == expected, str(result)
    else:
        assert result.status in (1, 2), str(result)


@FEW
@given(folder=PIECES)
def test_any_workdir_is_taken_or_refused(program: Program, box: Path, folder: str) -> None:
    result = program("--workdir", folder, box, "/bin/pwd")
    assert "Traceback" not in result.err, str(result)
    assert result.status in (0, 1, 2), str(result)
    if result.status == 0:
        assert folder.startswith("/"), str(result)
        assert os.path.normpath(folder).replace("//", "/") == result.out.removesuffix("\n")


@FEW
@given(
    words=st.lists(
        st.one_of(st.sampled_from(["--env", "--bind", "--net=none", "--user", "--"]), PIECES), max_size=5
    )
)
def test_any_command_line_ends_without_a_traceback(
    program: Program, tmp_path: Path, words: list[str]
) -> None:
    # In an empty folder, so that no word is a rootfs by chance; "/" is refused by itself.
    result = program(*words, directory=tmp_path)
    assert "Traceback" not in result.err, str(result)
