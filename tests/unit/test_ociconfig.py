from __future__ import annotations

from typing import Any

import pytest

from nspawn.errors import Damaged
from nspawn.model import ociconfig, ociplatform, settings
from nspawn.model.image import ImageConfig


def _parse(**config: Any) -> tuple[ImageConfig, tuple[str, ...]]:
    return ociconfig.parse({"os": "linux", "architecture": "amd64", "config": config}, 1)


def test_all_of_it() -> None:
    found, notes = _parse(
        Entrypoint=["/docker-entrypoint.sh"],
        Cmd=["nginx", "-g", "daemon off;"],
        Env=["PATH=/usr/bin", "EMPTY=", "TWO=a=b", "LINES=a\nb"],
        User="101:101",
        WorkingDir="/srv/www",
        ExposedPorts={"80/tcp": {}, "443": {}, "53/UDP": {}},
        StopSignal="SIGQUIT",
        Volumes={"/data": {}, "/var//lib/": {}},
        Labels={"a": "b"},
        Healthcheck={"Test": ["CMD", "x"]},
    )
    assert found == ImageConfig(
        entrypoint=("/docker-entrypoint.sh",),
        command=("nginx", "-g", "daemon off;"),
        env={"PATH": "/usr/bin", "EMPTY": "", "TWO": "a=b", "LINES": "a\nb"},
        user="101:101",
        workdir="/srv/www",
        ports=("80/tcp", "443/tcp", "53/udp"),
        stop_signal="SIGQUIT",
        volumes=("/data", "/var/lib"),
    )
    assert notes == ()
    # What it gives fits into a container's settings as it is.
    settings.parse(
        {
            "command": [*found.entrypoint, *found.command],
            "env": dict(found.env),
            "user": found.user,
            "workdir": found.workdir,
            "stop_signal": found.stop_signal,
        }
    )


def test_nothing_of_it() -> None:
    assert ociconfig.parse({}, 3) == (ImageConfig(), ())
    assert _parse(Entrypoint=None, Cmd=None, Env=None, User="", WorkingDir="", ExposedPorts=None) == (
        ImageConfig(),
        (),
    )
    assert _parse(Entrypoint=[], Cmd=[""], Volumes=None, StopSignal="") == (ImageConfig(), ())


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Cmd", "/bin/sh", {"command": ("/bin/sh",)}),
        ("User", "nginx", {"user": "nginx"}),
        ("User", "app:", {"user": "app"}),
        ("User", "0:0", {"user": "root"}),
        ("WorkingDir", "srv", {"workdir": "/srv"}),
        ("StopSignal", "SIGRTMIN+3", {"stop_signal": "SIGRTMIN+3"}),
        ("StopSignal", "9", {"stop_signal": "SIGKILL"}),
        ("StopSignal", "term", {"stop_signal": "SIGTERM"}),
    ],
)
def test_other_spellings(key: str, value: Any, expected: dict[str, Any]) -> None:
    assert _parse(**{key: value}) == (ImageConfig(**expected), ())


@pytest.mark.parametrize(
    ("key", "value", "count", "kept"),
    [
        (
            "Env",
            ["GOOD=1", "1BAD=x", "=x", "NOVALUE", "A-B=x", "N\0=x", "V=\0", 7, None],
            "8 variables",
            {"env": {"GOOD": "1"}},
        ),
        ("Env", ["A=" + "x" * 5000], "1 variable ", {}),
        (
            "ExposedPorts",
            {"80/tcp": {}, "0": {}, "65536": {}, "1/sctp": {}, "-1": {}, "80-90": {}, "٣": {}},
            "6 entries",
            {"ports": ("80/tcp",)},
        ),
        ("ExposedPorts", {"x\n80/tcp": {}}, "1 entry", {}),
        (
            "Volumes",
            {"/a": {}, "rel": {}, "/": {}, "/../b": {}, "/x\ny": {}, "/\0": {}},
            "5 entries",
            {"volumes": ("/a",)},
        ),
        ("StopSignal", "SIGNOTHING", "'SIGNOTHING'", {}),
        ("StopSignal", "$(reboot)", "no signal", {}),
        ("StopSignal", 12345, "no signal", {}),
        ("StopSignal", "0", "no signal", {}),
    ],
)
def test_what_cannot_be_used_is_left_out_with_a_note(
    key: str, value: Any, count: str, kept: dict[str, Any]
) -> None:
    found, notes = _parse(**{key: value})
    assert found == ImageConfig(**kept)
    assert len(notes) == 1
    assert count in notes[0]
    assert notes[0].isprintable()


def test_floods_are_cut() -> None:
    found, notes = _parse(
        Env=[f"V{number}=x" for number in range(50_000)], ExposedPorts={str(n): {} for n in range(1, 60_000)}
    )
    assert len(found.env) == 1000
    assert len(found.ports) == 1000
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Entrypoint", ["a\0b"]),
        ("Entrypoint", ["\ud800"]),
        ("Entrypoint", ["-c", "x"]),
        ("Entrypoint", [" "]),
        ("Entrypoint", ["x"] * 1001),
        ("Entrypoint", {"a": 1}),
        ("Entrypoint", [["sh"]]),
        ("Cmd", ["-c"]),
        ("Cmd", 7),
        ("User", "-u"),
        ("User", "a b"),
        ("User", "root\nx"),
        ("User", "a:b:c"),
        ("User", "a\0"),
        ("User", 0),
        ("WorkingDir", "/a\nb"),
        ("WorkingDir", "/a\0"),
        ("WorkingDir", ["/"]),
        ("Env", "A=b"),
        ("Env", {"A": "b"}),
        ("ExposedPorts", 80),
        ("Volumes", "/x"),
    ],
)
def test_what_would_run_something_else_is_refused(key: str, value: Any) -> None:
    with pytest.raises(Damaged) as caught:
        _parse(**{key: value})
    assert key in str(caught.value)
    assert str(caught.value).isprintable()


def test_options_for_an_entrypoint_may_begin_with_a_dash() -> None:
    assert _parse(Entrypoint=["/bin/x"], Cmd=["-v"])[0].command == ("-v",)


def test_the_parts_belong_together() -> None:
    document = {"rootfs": {"type": "layers", "diff_ids": ["a", "b"]}}
    assert ociconfig.parse(document, 2) == (ImageConfig(), ())
    with pytest.raises(Damaged, match="do not belong together"):
        ociconfig.parse(document, 1)


@pytest.mark.parametrize(
    ("machine", "document", "suits"),
    [
        ("x86_64", {}, True),
        ("x86_64", {"os": "linux", "architecture": "amd64"}, True),
        ("x86_64", {"os": "linux", "architecture": "arm64"}, False),
        ("x86_64", {"os": "windows", "architecture": "amd64"}, False),
        ("aarch64", {"os": "linux", "architecture": "arm64", "variant": "v8"}, True),
        ("armv7l", {"os": "linux", "architecture": "arm", "variant": "v6"}, True),
        ("armv6l", {"os": "linux", "architecture": "arm", "variant": "v7"}, False),
        ("x86_64", {"os": ["linux"], "architecture": 3}, True),
    ],
)
def test_which_machine_it_is_for(machine: str, document: dict[str, Any], suits: bool) -> None:
    assert ociconfig.suits(document, ociplatform.parse(machine)) is suits
