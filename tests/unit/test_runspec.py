"""The value that says what to run: over the wire and back, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import NspawnError, UsageError
from nspawn.model.record import Record
from nspawn.model.runspec import Bind, RunSpec, parse_env, parse_target, parse_user

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
PLACES = st.lists(st.from_regex(r"[a-z0-9_ :,-]{1,6}", fullmatch=True), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
BINDS = st.builds(Bind, PLACES, PLACES, read_only=st.booleans(), optional=st.booleans())
SPECS = st.builds(
    RunSpec,
    rootfs=TEXT,
    argv=st.lists(TEXT),
    env=st.dictionaries(NAMES, TEXT),
    hostname=st.just("h"),
    user=st.sampled_from(["", "root", "0:0"]),
    workdir=TEXT,
    read_only=st.booleans(),
    ephemeral=st.booleans(),
    boot=st.booleans(),
    binds=st.lists(BINDS),
    network=st.sampled_from(["host", "none"]),
    term=TEXT,
)


@given(SPECS)
def test_a_spec_crosses_the_socket_whole(spec: RunSpec) -> None:
    found = RunSpec.from_record(Record.decode(spec.to_record().encode()))
    assert {slot: getattr(found, slot) for slot in RunSpec.__slots__} == {
        slot: getattr(spec, slot) for slot in RunSpec.__slots__
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["env", "bind-source", "bind-target", "bind-mode", "hostname", "user", "network", "arg"]
            ),
            st.binary().map(lambda raw: raw.replace(b"\0", b"")),
        )
    )
)
def test_a_record_from_a_stranger_is_a_spec_or_an_error(fields: list[tuple[str, bytes]]) -> None:
    try:
        spec = RunSpec.from_record(Record(fields))
    except NspawnError:
        return
    assert spec.network in ("host", "none")
    assert all(bind.target.startswith("/") and ".." not in bind.target.split("/") for bind in spec.binds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", Bind("/a", "/b")),
        ("/a:/b:ro", Bind("/a", "/b", read_only=True)),
        ("/a:/b:rw", Bind("/a", "/b")),
        ("/a://b/./c/", Bind("/a", "/b/c")),
    ],
)
def test_a_bind_is_read(text: str, expected: Bind) -> None:
    assert Bind.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "/a", "a:/b", "/a:b", "/a:/", "/a:/../b", "/a:/b:rx", "/a:/b:ro:x", "/a:/b\0"]
)
def test_a_bad_bind_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        Bind.parse(text)


@pytest.mark.parametrize("text", ["", "A", "=x", "1A=x", "A B=x", "Ä=x", "A=\0", "-A=x"])
def test_a_bad_variable_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_env(text)


@pytest.mark.parametrize("text", ["A=", "_a1=x=y", "A=\n $(x) 'y'"])
def test_a_variable_may_hold_anything(text: str) -> None:
    name, value = parse_env(text)
    assert f"{name}={value}" == text


@pytest.mark.parametrize("text", ["", ":", "a:", ":b", "a:b:c", "a\nb", "a\0"])
def test_a_bad_user_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_user(text)


@pytest.mark.parametrize("text", ["/", "", "a", "/a/../b", "/..", "//"])
def test_a_bad_target_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


def test_given_variables_win_over_the_usual_ones() -> None:
    spec = RunSpec(env={"PATH": "/x", "A": "b"}, term="vt100")
    assert spec.environment("/home/u") == {
        "PATH": "/x",
        "HOME": "/home/u",
        "TERM": "vt100",
        "container": "nspawn",
        "A": "b",
    }
