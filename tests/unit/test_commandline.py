"""The command line of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model.commandline import may_use_network, parse
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
        ("--net= r", "--net takes no ''"),
        ("--publish", "--publish needs a value"),
        ("-p 80 r", "'80' is not a forward"),
        ("-p 80:80/sctp r", "neither tcp nor udp"),
        ("-p 70000:80 r", "not to 70000"),
        ("-p 8022:22 r", "stays with Termux's sshd"),
        ("-p 80:80 -p 80:81 r", "overlap"),
        ("-P 80 r", "not a range of ports"),
        ("-P 90:80 r", "before it begins"),
        ("-x80:80 r", "no option '-x80:80'"),
        ("--ip 10.11.0 r", "not an IPv4 address"),
        ("--ip fd11::5 r", "not an IPv4 address"),
        ("--dns one r", "not the address of a DNS server"),
        ("--route-via wifi,wifi r", "is there twice"),
        ("--route-via a/b r", "neither an interface nor a kind"),
        ("--route-via wifi --on-down drop r", "--on-down takes no 'drop'"),
        ("--on-down block r", "without the uplinks of --route-via"),
        ("--ipv6 on r", "--ipv6 takes no 'on'"),
        ("--net=host -p 80:80 r", "--publish needs a network of its own"),
        ("--net=none --dns 9.9.9.9 r", "--dns needs a network of its own"),
        ("-C r", "-C goes alone"),
        ("--net --cleanup-route r", "--cleanup-route goes alone"),
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


def test_a_network_is_only_made_when_it_is_asked_for() -> None:
    for words, mode in (
        (["r"], "host"),
        (["--net", "r"], "nat"),
        (["--net=nat", "r"], "nat"),
        (["--net=none", "r"], "none"),
        (["--net", "--net=host", "r"], "host"),
        (["r", "--net"], "host"),
        (["-p", "8080:80", "r"], "nat"),
        (["--route-via=wlan0", "r"], "nat"),
        (["--ip", "10.11.0.9", "r"], "nat"),
        (["--dns=9.9.9.9", "r"], "nat"),
        (["--ipv6=off", "r"], "nat"),
    ):
        spec = parse(words, "")
        assert (spec.network, spec.wish is not None) == (mode, mode == "nat"), words
        assert may_use_network(words) or mode == "host"
    assert not may_use_network(["--env", "A=1", "--ephemeral", "r", "sh"])


def test_what_is_asked_of_the_network() -> None:
    words = "-p 8080:80 -p=127.0.0.1:53:53/udp -P2000:2001 -P 8020:8024 --publish [::1]:9:9 --ip 10.11.0.9"
    words += (
        " --route-via vpn,wlan* --route-via Mobile --on-down=fallback --dns 9.9.9.9,2620:fe::fe --ipv6 proxy"
    )
    spec = parse([*words.split(), "r", "-p", "1:1"], "")
    assert spec.argv == ["-p", "1:1"]
    wish = spec.wish
    assert wish is not None
    assert wish.forwards == (
        "8080:80/tcp",
        "127.0.0.1:53:53/udp",
        "[::1]:9:9/tcp",
        "2000-2001:2000/tcp",
        "2000-2001:2000/udp",
        "8020-8021:8020/tcp",
        "8023-8024:8023/tcp",
        "8020-8024:8020/udp",
    )
    assert (wish.address, wish.on_down, wish.ipv6) == ("10.11.0.9", "fallback", "proxy")
    assert wish.pins == ("vpn", "wlan*", "mobile")
    assert wish.dns == ("9.9.9.9", "2620:fe::fe")
    assert len(wish.notes) == 1
    assert "8022" in wish.notes[0]


@pytest.mark.parametrize(
    "option", ["--net", "-p", "-P", "--ip=1", "--route-via", "--dns", "--ipv6=off", "-C"]
)
def test_mini_refuses_what_is_of_the_network(option: str) -> None:
    with pytest.raises(UsageError, match="nspawn-mini has no"):
        parse([option, "r"], "", mini=True)
