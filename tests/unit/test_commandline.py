"""The command line of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model.commandline import parse
from nspawn.model.runspec import Bind


def test_everything_at_once() -> None:
    spec = parse(
        [
            "--env",
            "A=1",
            "--env=B=x=y",
            "--bind",
            "/s:/d:ro",
            "--workdir",
            "/w",
            "--user",
            "u:g",
            "--hostname",
            "h",
            "--read-only",
            "--net",
            "./list",
            "-x",
            "--env",
        ],
        "vt100",
    )
    assert (spec.rootfs, spec.argv, spec.env) == ("./list", ["-x", "--env"], {"A": "1", "B": "x=y"})
    assert spec.binds == [Bind("/s", "/d", read_only=True)]
    assert (spec.workdir, spec.user, spec.hostname, spec.term) == ("/w", "u:g", "h", "vt100")
    assert (spec.read_only, spec.ephemeral, spec.boot, spec.network) == (True, False, False, "nat")


def test_what_is_not_said() -> None:
    spec = parse(["r"], "")
    assert (spec.argv, spec.env, spec.binds, spec.hostname, spec.user) == ([], {}, [], "", "")
    assert (spec.network, spec.term) == ("host", "xterm-256color")


def test_two_dashes_end_the_options() -> None:
    assert parse(["--ephemeral", "--", "-odd", "--net"], "").rootfs == "-odd"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "a rootfs is needed"),
        ("--", "a rootfs is needed"),
        ("--nett r", "no option '--nett'"),
        ("-x r", "no option '-x'"),
        ("--net=yes r", "--net takes no 'yes'"),
        ("--env", "--env needs a value"),
        ("--env x r", "not an environment variable"),
        ("--bind /a r", "not a bind"),
        ("--workdir rel r", "needs an absolute path"),
        ("--workdir= r", "needs an absolute path"),
        ("--user= r", "not a user"),
        ("--hostname a_b r", "not a host name"),
        ("--boot r cmd", "--boot runs the rootfs's own init"),
    ],
)
def test_a_mistake_is_named(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(line.split(), "")


def test_mini_has_no_network_options() -> None:
    with pytest.raises(UsageError, match="nspawn-mini has no --net"):
        parse(["--net", "r"], "", mini=True)


WORDS = st.sampled_from(["--env", "--bind", "--net", "--user", "--", "-", "r", "A=b", "/a:/b", "--boot", ""])


@given(st.lists(WORDS | st.text()))
def test_any_words_are_a_spec_or_a_usage_error(words: list[str]) -> None:
    try:
        spec = parse(words, "")
    except UsageError:
        return
    assert spec.rootfs in words
