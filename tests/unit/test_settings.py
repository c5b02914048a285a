from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model import boot, kinds, settings
from nspawn.model.settings import Autostart, Limits, Network, NewerVersion, Restart, Settings

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
NAME = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
LINE = TEXT.filter(str.isprintable)
SECONDS = st.floats(0, kinds.LONGEST_SECONDS)
PLACE = st.from_regex(r"(/[a-z0-9 \"\\\\]{1,8}){1,3}", fullmatch=True)


@st.composite
def restarts(draw: st.DrawFn) -> Restart:
    delay, longest = sorted((draw(SECONDS), draw(SECONDS)))
    return Restart(
        policy=draw(st.sampled_from(("no", "on-failure", "always"))),
        delay=delay,
        max_delay=longest,
        max_tries=draw(st.integers(0, 1000)),
    )


NETWORKS = st.builds(
    Network,
    mode=st.sampled_from(("host", "none")),
    pin=st.lists(LINE, max_size=3).map(tuple),
    on_down=st.sampled_from(("block", "fallback")),
    ports=st.lists(
        st.builds(
            "{}:{}/{}".format, st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(("tcp", "udp"))
        ),
        max_size=3,
        unique_by=lambda port: port.split(":")[0],
    ).map(tuple),
)
SETTINGS = st.builds(
    Settings,
    image=LINE,
    rootfs=st.just("") | PLACE,
    command=st.lists(TEXT.filter(bool), max_size=3).map(tuple),
    boot=st.booleans(),
    user=st.sampled_from(("", "root", "0", "1000:1000", "www-data:adm")),
    workdir=st.just("") | PLACE,
    hostname=st.sampled_from(("", "box", "a-b.c")),
    read_only=st.booleans(),
    ephemeral=st.booleans(),
    storage=st.sampled_from(("", "/sdcard")),
    wake_lock=st.booleans(),
    pausable=st.booleans(),
    stop_signal=st.sampled_from(("", "SIGTERM", "SIGKILL", "SIGRTMIN+3")),
    stop_time=SECONDS,
    binds=st.lists(
        st.builds("{}:{}".format, PLACE, PLACE), max_size=3, unique_by=lambda bind: bind.split(":")[1]
    ).map(tuple),
    env=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), TEXT, max_size=3),
    network=NETWORKS,
    autostart=st.builds(
        Autostart,
        enabled=st.booleans(),
        order=st.integers(-1000, 1000),
        delay=SECONDS,
        after=st.lists(NAME, max_size=3).map(tuple),
        when=st.sets(st.sampled_from(list(boot.CONDITIONS))).map(
            lambda named: tuple(each for each in boot.CONDITIONS if each in named)
        ),
    ),
    restart=restarts(),
    limits=st.builds(
        Limits, memory=st.integers(0, 1 << 61), cpus=st.floats(0, 4096), pids=st.integers(0, 1 << 31)
    ),
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from((*{key.partition(".")[0] for key in settings.KEYS}, "version")) | st.text(),
    ANYTHING
    | st.dictionaries(
        st.sampled_from([key.rpartition(".")[2] for key in settings.KEYS]), ANYTHING, max_size=3
    ),
    max_size=5,
)


@given(SETTINGS)
def test_what_is_written_is_read_again(value: Settings) -> None:
    text = tomli_w.dumps(settings.to_toml_mapping(value))
    assert settings.parse(tomllib.loads(text)) == value


@given(DOCUMENTS | ANYTHING)
def test_arbitrary_documents_raise_usage_errors_only(document: object) -> None:
    try:
        value = settings.parse(document)
    except UsageError as error:
        error.render().encode()  # can always be printed
        return
    assert settings.parse(settings.to_toml_mapping(value)) == value


@given(
    SETTINGS,
    st.dictionaries(
        st.sampled_from((*settings.KEYS, "env.A", "env.", "autostart", "nope")) | st.text(), st.text()
    ),
)
def test_arbitrary_changes_raise_usage_errors_only(value: Settings, changes: dict[str, str]) -> None:
    try:
        changed = settings.apply(value, changes)
    except UsageError:
        return
    assert settings.parse(settings.to_toml_mapping(changed)) == changed


@given(SETTINGS)
def test_no_change_is_no_change(value: Settings) -> None:
    assert settings.apply(value, {}) == value


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"autostart": {"order": "x"}}, 'autostart.order: expected a whole number, got "x"'),
        ({"autostart": True}, "autostart: expected a table, got true"),
        ({"autostart": {"order": 1.5}}, "autostart.order: expected a whole number, got 1.5"),
        ({"boot": "yes"}, 'boot: expected true or false, got "yes"'),
        ({"command": "/bin/sh"}, 'command: expected a list, got "/bin/sh"'),
        ({"stop_time": -1}, "stop_time: expected a number of seconds from 0 to 86400, got -1"),
        ({"stop_time": float("nan")}, "stop_time: expected a number of seconds from 0 to 86400, got NaN"),
        ({"binds": ["/a:b"]}, "binds: the bind '/a:b' needs absolute paths"),
        ({"binds": ["/a:/b/../c"]}, "binds: '/b/../c' is not a place in a container"),
        ({"binds": ["/a:/x", "/b:/x"]}, "binds: expected each place in the container once, got /x twice"),
        ({"env": {"A B": "x"}}, "env: 'A B=x' is not an environment variable"),
        ({"env": {"A": 1}}, "env: expected text for 'A'"),
        ({"env": {"A": "x\0"}}, "env: expected Unicode text without NUL"),
        ({"network": {"mode": "lan"}}, 'network.mode: expected one of host, none, got "lan"'),
        ({"network": {"ports": ["0:80"]}}, "network.ports: expected a port as HOST:CONTAINER"),
        ({"network": {"ports": ["1:80", "1:81"]}}, "network.ports: expected each port of the host once"),
        ({"stop_signal": "SIGNOPE"}, "stop_signal: expected a signal such as SIGTERM"),
        ({"user": "-x"}, "user: expected a user as NAME"),
        ({"rootfs": "here"}, "rootfs: expected an absolute path"),
        ({"autostart": {"after": ["../x"]}}, "autostart.after: '../x' is not a container name"),
        ({"restart": {"delay": 5, "max_delay": 1}}, "restart.max_delay: expected at least restart.delay"),
        ({"limits": {"memory": "lots"}}, "limits.memory: expected a size"),
        ({"bots": 1}, "bots: there is no such setting"),
        ({"version": "1"}, "version: expected a whole number from 1"),
        ([], "settings: expected a table"),
    ],
)
def test_errors_name_the_key(document: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings.parse(document)
    assert str(caught.value).startswith(message)


def test_the_nearest_key_is_suggested() -> None:
    for wrong, right in (
        ("autostart.oder", "autostart.order"),
        ("order", "autostart.order"),
        ("bind", "binds"),
    ):
        with pytest.raises(UsageError) as caught:
            settings.apply(Settings(), {wrong: "1"})
        assert right in caught.value.hint


def test_a_newer_version_is_refused_by_a_sentence() -> None:
    with pytest.raises(NewerVersion, match="of version 2 and this nspawn reads version 1"):
        settings.parse({"version": 2, "something": "new"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"autostart": "true"}, Settings(autostart=Autostart(enabled=True))),
        ({"autostart.after": "a,b"}, Settings(autostart=Autostart(after=("a", "b")))),
        (
            {"autostart.order": "-3", "autostart.delay": "1.5"},
            Settings(autostart=Autostart(order=-3, delay=1.5)),
        ),
        ({"command": "/bin/sh -c 'echo a,b'"}, Settings(command=("/bin/sh", "-c", "echo a,b"))),
        ({"command": '["/bin/x", "a b"]'}, Settings(command=("/bin/x", "a b"))),
        ({"env.A": "b=c"}, Settings(env={"A": "b=c", "OLD": "1"})),
        ({"env.OLD": ""}, Settings()),
        ({"binds": "/a:/b,/c:/d/:ro"}, Settings(binds=("/a:/b", "/c:/d:ro"))),
        (
            {"network.ports": "8080:80,53:53/udp"},
            Settings(network=Network(ports=("8080:80/tcp", "53:53/udp"))),
        ),
        ({"restart": "always"}, Settings(restart=Restart(policy="always"))),
        ({"limits.memory": "2G"}, Settings(limits=Limits(memory=2 << 30))),
        ({"stop_signal": "rtmin+3"}, Settings(stop_signal="SIGRTMIN+3")),
        ({"stop_signal": "15"}, Settings(stop_signal="SIGTERM")),
        ({"stop_time": "3"}, Settings(stop_time=3.0)),
        ({"stop_time": ""}, Settings()),
    ],
)
def test_changes_as_text(changes: dict[str, str], expected: Settings) -> None:
    before = Settings(env={"OLD": "1"})
    if "env.A" not in changes and "env.OLD" not in changes:
        before = Settings()
    assert settings.apply(before, changes) == expected


def test_a_change_leaves_the_old_value_alone() -> None:
    before = Settings(env={"A": "1"})
    settings.apply(before, {"env.A": "", "env.B": "2"})
    assert before == Settings(env={"A": "1"})


def test_runspec_has_what_the_settings_say() -> None:
    value = settings.apply(
        Settings(),
        {"command": "/bin/true", "env.A": "1", "binds": "/a:/b:ro", "network": "none", "user": "1:2"},
    )
    spec = settings.runspec(value, "my_box", "/c/rootfs")
    assert (spec.rootfs, spec.hostname, spec.argv, spec.env) == (
        "/c/rootfs",
        "my-box",
        ["/bin/true"],
        {"A": "1"},
    )
    assert (str(spec.binds[0]), spec.network, spec.user) == ("/a:/b:ro", "none", "1:2")
