from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from nspawn.errors import UsageError
from nspawn.model import boot, kinds, networds, settings, words
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
    mode=st.sampled_from(networds.MODES),
    pin=st.lists(
        st.sampled_from((*words.KINDS, "wlan0", "rmnet*", "eth[0-9]", "v4-wlan0")), max_size=3, unique=True
    ).map(tuple),
    on_down=st.sampled_from(networds.ON_DOWN),
    ports=st.lists(
        st.builds(
            "{}{}:{}/{}".format,
            st.sampled_from(("", "192.0.2.1:", "[2001:db8::1]:")),
            st.integers(1, 8000),
            st.integers(1, 65535),
            st.sampled_from(("tcp", "udp")),
        ),
        max_size=3,
        unique_by=lambda port: port.split(":")[-2],
    ).map(tuple),
    port_range=st.sampled_from(((), ("9000:9010",), ("9000:9000", "9001:9100"))),
    ip=st.sampled_from(("", "10.11.0.7")),
    dns=st.sampled_from(((), ("9.9.9.9", "2620:fe::fe"))),
    ipv6=st.sampled_from(networds.IPV6_MODES),
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
    volumes=st.lists(PLACE, max_size=2).map(tuple),
    exposed_ports=st.sampled_from(((), ("80/tcp", "53/udp"))),
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
        ({"network": {"mode": "lan"}}, 'network.mode: expected one of host, nat, none, got "lan"'),
        ({"network": {"ports": ["0:80"]}}, "network.ports: '0:80'"),
        ({"network": {"ports": ["80"]}}, "network.ports: '80'"),
        ({"network": {"ports": ["1:80/sctp"]}}, "network.ports: '1:80/sctp'"),
        ({"network": {"ports": ["1:80", "1:81"]}}, "network.ports: 1:80/tcp and 1:81/tcp ask for the same"),
        (
            {"network": {"ports": ["192.0.2.1:90:90"], "port_range": ["80:99"]}},
            "network.ports: 80-99:80/tcp and 192.0.2.1:90:90/tcp ask for the same port of the host",
        ),
        ({"network": {"port_range": ["9:8"]}}, "network.port_range: '9:8'"),
        ({"network": {"port_range": ["1:70000"]}}, "network.port_range: '1:70000'"),
        (
            {"network": {"pin": ["a name that is too long"]}},
            "network.pin: 'a name that is too long' is neither",
        ),
        ({"network": {"pin": ["sixteen_letters_"]}}, "network.pin: 'sixteen_letters_' is no interface"),
        ({"network": {"pin": ["../x"]}}, "network.pin: '../x' is neither an"),
        ({"network": {"pin": [""]}}, "network.pin: '' is neither an"),
        ({"network": {"pin": ["wlan0", "wlan0"]}}, "network.pin: the uplink 'wlan0' is there twice"),
        ({"network": {"pin": "wifi"}}, "network.pin: expected a list"),
        ({"network": {"on_down": "leak"}}, "network.on_down: expected one of block, fallback"),
        ({"network": {"ip": "10.11.0.300"}}, "network.ip: '10.11.0.300' is not an IPv4 address"),
        ({"network": {"ip": "fd11::7"}}, "network.ip: 'fd11::7' is not an IPv4 address"),
        ({"network": {"ip": "127.0.0.1"}}, "network.ip: '127.0.0.1' is not an IPv4 address"),
        ({"network": {"ip": 7}}, "network.ip: expected text, got 7"),
        ({"network": {"dns": ["dns.example"]}}, "network.dns: 'dns.example' is not the address of a DNS"),
        ({"network": {"dns": ["0.0.0.0"]}}, "network.dns: '0.0.0.0' is not the address of a DNS server"),
        ({"network": {"ipv6": "on"}}, "network.ipv6: expected one of auto, proxy, off"),
        ({"volumes": ["data"]}, "volumes: 'data' is not a place in a container"),
        ({"volumes": ["/a/../../etc"]}, "volumes: '/a/../../etc' is not a place in a container"),
        ({"volumes": ["/"]}, "volumes: '/' is not a place in a container"),
        ({"volumes": ["/a\n"]}, "volumes: expected one line of printable text"),
        ({"exposed_ports": ["0/tcp"]}, "exposed_ports: expected a list of ports such as 80/tcp"),
        ({"exposed_ports": ["65536"]}, "exposed_ports: expected a list of ports such as 80/tcp"),
        ({"exposed_ports": ["80/sctp"]}, "exposed_ports: expected a list of ports such as 80/tcp"),
        ({"exposed_ports": "80/tcp"}, "exposed_ports: expected a list"),
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
            {"net": "nat", "network.ports": "8080:80,53:53/udp"},
            Settings(network=Network(mode="nat", ports=("8080:80/tcp", "53:53/udp"))),
        ),
        (
            {"net": "nat", "pin": "VPN, wlan?", "on_down": "fallback", "ip": "10.11.0.7"},
            Settings(network=Network(mode="nat", pin=("vpn", "wlan?"), on_down="fallback", ip="10.11.0.7")),
        ),
        (
            {"net": "nat", "dns": "9.9.9.9,2620:FE:0::fe", "ipv6": "proxy", "port_range": "9000:9010"},
            Settings(
                network=Network(
                    mode="nat", dns=("9.9.9.9", "2620:fe::fe"), ipv6="proxy", port_range=("9000:9010",)
                )
            ),
        ),
        ({"restart": "always"}, Settings(restart=Restart(policy="always"))),
        ({"limits.memory": "2G"}, Settings(limits=Limits(memory=2 << 30))),
        ({"stop_signal": "rtmin+3"}, Settings(stop_signal="SIGRTMIN+3")),
        ({"exposed_ports": "80, 053/udp"}, Settings(exposed_ports=("80/tcp", "53/udp"))),
        ({"volumes": "/data/,/var//lib"}, Settings(volumes=("/data", "/var/lib"))),
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


@pytest.mark.parametrize("mode", ["host", "none"])
@pytest.mark.parametrize(
    "change",
    [
        {"ports": "80:80"},
        {"network.port_range": "80:90"},
        {"pin": "wifi"},
        {"network.ip": "10.11.0.7"},
        {"network.dns": "9.9.9.9"},
        {"network.on_down": "fallback"},
        {"network.ipv6": "off"},
    ],
)
def test_what_counts_with_nat_only_is_not_set_with_another_mode(mode: str, change: dict[str, str]) -> None:
    key = "network." + next(iter(change)).removeprefix("network.")
    with pytest.raises(UsageError) as caught:
        settings.apply(Settings(), {"network": mode, **change})
    assert str(caught.value) == f"{key}: it counts with network.mode=nat only, and the mode is {mode}"
    assert "network.mode=nat" in caught.value.hint


def test_what_counted_with_nat_is_kept_while_the_mode_is_another() -> None:
    before = settings.apply(Settings(), {"net": "nat", "ports": "80:80", "pin": "wifi"})
    away = settings.apply(before, {"net": "host"})
    assert settings.apply(away, {"boot": "true"}).network.ports == ("80:80/tcp",)
    assert settings.apply(away, {"ports": ""}).network.ports == ()
    assert settings.apply(away, {"net": "nat"}) == before


def test_the_port_of_termux_is_left_alone() -> None:
    with pytest.raises(UsageError, match=r"network\.ports: port 8022 stays with Termux's sshd"):
        settings.apply(Settings(), {"net": "nat", "ports": "8022:22"})
    value = settings.apply(Settings(), {"net": "nat", "port_range": "8000:8100"})
    found, notes = settings.granted(value.network)
    assert [str(each) for each in found] == [
        "8000-8021:8000/tcp",
        "8023-8100:8023/tcp",
        "8000-8100:8000/udp",
    ]
    assert notes == ("ports 8000-8100/tcp without 8022, which stays with Termux's sshd",)
    # Written before ports had an effect: the container stays usable.
    assert settings.parse({"network": {"ports": ["8022:22/tcp"]}}).network.ports == ("8022:22/tcp",)


def test_files_of_before_the_network_are_read() -> None:
    old = {"mode": "host", "pin": ["wlan0"], "on_down": "block", "ports": ["8080:80/tcp", "53:53/udp"]}
    assert settings.parse({"version": 1, "network": old}).network == Network(
        pin=("wlan0",), ports=("8080:80/tcp", "53:53/udp")
    )


def test_every_forward_of_the_ports_and_the_ranges() -> None:
    value = settings.apply(Settings(), {"net": "nat", "ports": "80:8000", "port_range": "9000:9001"})
    assert [str(each) for each in settings.forwarded(value.network)] == [
        "80:8000/tcp",
        "9000-9001:9000/tcp",
        "9000-9001:9000/udp",
    ]


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
