"""The settings of one container: the values of its container.toml.

Input is parsed once, here; errors name the key's path (`autostart.order: expected a whole number`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nspawn.errors import UsageError
from nspawn.model import forwards, kinds
from nspawn.model.forwards import Forward
from nspawn.model.names import host_name
from nspawn.model.runspec import Bind, RunSpec

#: Of the file format.  A newer program may write a higher one; this one then leaves the file alone.
VERSION = 1


class NewerVersion(UsageError):
    """The settings were written by a newer nspawn."""

    code = "newer_version"
    status = 1


@dataclass(frozen=True, kw_only=True)
class Network:
    """mode: "host", "nat" or "none".  The rest counts with "nat" only, and is kept with another.

    pin: uplinks by preference, empty for the host's; on_down: what becomes of traffic when none of them is
    there, "block" or "fallback".  ports: `[ADDRESS:]HOST:CONTAINER/tcp|udp`; port_range: `START:END`, the
    same ports on both sides.  ip: a fixed IPv4 address or "".  dns: servers instead of ours.  ipv6: "auto",
    "proxy" or "off".
    """

    mode: str = "host"
    pin: tuple[str, ...] = ()
    on_down: str = "block"
    ports: tuple[str, ...] = ()
    port_range: tuple[str, ...] = ()
    ip: str = ""
    dns: tuple[str, ...] = ()
    ipv6: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Autostart:
    """order: lower first; after: names to start earlier; when: conditions that all must hold (see
    model.boot); delay: seconds to wait when everything else holds.
    """

    enabled: bool = False
    order: int = 0
    delay: float = 0.0
    after: tuple[str, ...] = ()
    when: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Restart:
    """policy: "no", "on-failure" or "always"; delay, max_delay: seconds; max_tries: 0 for no end."""

    policy: str = "no"
    delay: float = 1.0
    max_delay: float = 60.0
    max_tries: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """memory: bytes; cpus: processors; pids: processes; 0 for no limit each.  Stored, not applied yet."""

    memory: int = 0
    cpus: float = 0.0
    pids: int = 0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """image: what the rootfs was made from; rootfs: a folder of the user's, "" for the container's own.

    command: empty for a shell; boot: run the rootfs's own init; stop_time: seconds before SIGKILL.
    stop_signal: "" for the one that suits what runs (SIGTERM; what its init understands with `boot`).
    storage: where the phone's shared storage is shown once it is unlocked, "" for nowhere.
    wake_lock: the phone does not sleep while it runs; pausable: the power rules may freeze it.
    exposed_ports: `80/tcp`, what it listens at; nothing is opened by them.  volumes: see RunSpec.
    """

    image: str = ""
    rootfs: str = ""
    command: tuple[str, ...] = ()
    boot: bool = False
    user: str = ""
    workdir: str = ""
    hostname: str = ""
    read_only: bool = False
    ephemeral: bool = False
    storage: str = ""
    wake_lock: bool = False
    pausable: bool = False
    stop_signal: str = ""
    stop_time: float = 10.0
    binds: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    network: Network = Network()
    autostart: Autostart = Autostart()
    restart: Restart = Restart()
    limits: Limits = Limits()


_TABLES: dict[str, Callable[..., Any]] = {
    "network": Network,
    "autostart": Autostart,
    "restart": Restart,
    "limits": Limits,
}

#: Every key by its path, in the order in which they are written.
KEYS: dict[str, kinds.Kind] = {
    "image": kinds.LINE,
    "rootfs": kinds.PATH,
    "command": kinds.ARGUMENTS,
    "boot": kinds.FLAG,
    "user": kinds.USER,
    "workdir": kinds.PATH,
    "hostname": kinds.HOST_NAME,
    "read_only": kinds.FLAG,
    "ephemeral": kinds.FLAG,
    "storage": kinds.PLACE,
    "wake_lock": kinds.FLAG,
    "pausable": kinds.FLAG,
    "stop_signal": kinds.SIGNAL,
    "stop_time": kinds.SECONDS,
    "binds": kinds.BINDS,
    "volumes": kinds.VOLUMES,
    "exposed_ports": kinds.EXPOSED,
    "env": kinds.ENVIRONMENT,
    "network.mode": kinds.NETWORK_MODE,
    "network.pin": kinds.PINS,
    "network.on_down": kinds.ON_DOWN,
    "network.ports": kinds.PORTS,
    "network.port_range": kinds.PORT_RANGES,
    "network.ip": kinds.ADDRESS4,
    "network.dns": kinds.SERVERS,
    "network.ipv6": kinds.IPV6,
    "autostart.enabled": kinds.FLAG,
    "autostart.order": kinds.ORDER,
    "autostart.delay": kinds.SECONDS,
    "autostart.after": kinds.NAMES,
    "autostart.when": kinds.CONDITIONS,
    "restart.policy": kinds.POLICY,
    "restart.delay": kinds.SECONDS,
    "restart.max_delay": kinds.SECONDS,
    "restart.max_tries": kinds.COUNT,
    "limits.memory": kinds.MEMORY,
    "limits.cpus": kinds.CPUS,
    "limits.pids": kinds.COUNT,
}

#: Short for the key that a person means.
_SHORT = {
    "autostart": "autostart.enabled",
    "restart": "restart.policy",
    "network": "network.mode",
    "net": "network.mode",
    "ports": "network.ports",
    "pin": "network.pin",
    "on_down": "network.on_down",
    "port_range": "network.port_range",
    "ip": "network.ip",
    "dns": "network.dns",
    "ipv6": "network.ipv6",
    "after": "autostart.after",
    "when": "autostart.when",
    "memory": "limits.memory",
    "read-only": "read_only",
}


def parse(mapping: object) -> Settings:
    """Settings from a TOML or JSON document.  Missing keys have their defaults.

    Raises NewerVersion when a newer program wrote it, UsageError for anything else that is wrong.
    """
    if not isinstance(mapping, Mapping):
        raise UsageError(f"settings: expected a table, got {_show(mapping)}")
    version = mapping.get("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"version: expected a whole number from 1, got {_show(version)}")
    if version > VERSION:
        raise NewerVersion(
            f"these settings are of version {_show(version)} and this nspawn reads version {VERSION}",
            "a newer nspawn wrote them",
            "Update nspawn; the file was left as it is.",
        )
    flat: dict[str, object] = {}
    for key, value in mapping.items():
        if key == "version":
            continue
        if key in _TABLES:
            if not isinstance(value, Mapping):
                raise UsageError(f"{key}: expected a table, got {_show(value)}")
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            flat[key] = value
    return _build(flat)


def to_toml_mapping(settings: Settings) -> dict[str, object]:
    """The document for tomli_w or JSON: `parse` of it gives equal settings."""
    document: dict[str, object] = {"version": VERSION}
    tables: dict[str, object] = {}
    for key, value in flatten(settings).items():
        plain = list(value) if isinstance(value, tuple) else value
        table, dot, name = key.partition(".")
        if dot:
            section = tables.setdefault(table, {})
            assert isinstance(section, dict)
            section[name] = plain
        elif isinstance(plain, Mapping):
            tables[key] = dict(plain)
        else:
            document[key] = plain
    return document | tables


def apply(settings: Settings, changes: Mapping[str, str]) -> Settings:
    """The settings after `nspawn set`: dotted keys, values as text; empty text gives the default again.

    Lists: `a,b` or a JSON array; the command: words as in a shell; `env.NAME=text`, and empty to remove.
    Raises UsageError that names the key.
    """
    flat = flatten(settings)
    named = {_SHORT.get(given, given): text for given, text in changes.items()}
    for key, text in named.items():
        if key.startswith("env."):
            environment = dict(settings.env) if flat["env"] is settings.env else flat["env"]
            assert isinstance(environment, dict)
            environment.pop(key[4:], None)
            if text:
                environment[key[4:]] = text
            flat["env"] = environment
        elif key not in KEYS:
            raise _unknown(key)
        elif text:
            flat[key] = KEYS[key].read(text)
        else:
            flat.pop(key)
    changed = _build(flat)
    _check_change(changed.network, named)
    return changed


def named(changes: Iterable[str]) -> frozenset[str]:
    """The keys that these of `apply` stand for; `env` for each of its variables."""
    keys = (_SHORT.get(key, key) for key in changes)
    return frozenset("env" if key.startswith("env.") else key for key in keys)


def _check_change(network: Network, named: Iterable[str]) -> None:
    """What is set of the network has its effect: files that say otherwise are read, but none is made so."""
    if "network.ports" in named:
        try:
            granted(network)
        except UsageError as error:
            raise UsageError(f"network.ports: {error.what}", error.why, error.hint) from None
    if network.mode == "nat":
        return
    for item in fields(Network):
        key = f"network.{item.name}"
        if item.name != "mode" and key in named and getattr(network, item.name) != item.default:
            raise UsageError(
                f"{key}: it counts with network.mode=nat only, and the mode is {network.mode}",
                hint=f"Set both: network.mode=nat {key}=...",
            )


def forwarded(network: Network) -> tuple[Forward, ...]:
    """Every forward that it asks for, of ranges too."""
    ranges = (forward for text in network.port_range for forward in forwards.parse_range(text))
    return (*map(forwards.parse_publish, network.ports), *ranges)


def granted(network: Network) -> tuple[tuple[Forward, ...], tuple[str, ...]]:
    """The forwards that it gets, and notes on what is left out; UsageError for a port that is kept."""
    found: list[Forward] = []
    notes = []
    for asked in forwarded(network):
        parts, note = forwards.without_reserved(asked)
        found += parts
        notes += [note] if note else []
    return tuple(found), tuple(notes)


def runspec(settings: Settings, name: str, rootfs: str, binds: tuple[Bind, ...] = ()) -> RunSpec:
    """What to run for a container of this name; rootfs: its own, unless the settings give another.

    binds: shown besides those of the settings.
    """
    return RunSpec(
        rootfs=settings.rootfs or rootfs,
        argv=settings.command,
        env=settings.env,
        hostname=settings.hostname or host_name(name),
        user=settings.user,
        workdir=settings.workdir,
        read_only=settings.read_only,
        ephemeral=settings.ephemeral,
        boot=settings.boot,
        binds=(*(Bind.parse(bind) for bind in settings.binds), *binds),
        volumes=settings.volumes,
        network=settings.network.mode,
    )


def flatten(settings: Settings) -> dict[str, object]:
    """Every value by the path of its key."""
    flat: dict[str, object] = {}
    for key in KEYS:
        value: object = settings
        for part in key.split("."):
            value = getattr(value, part)
        flat[key] = value
    return flat


def _build(flat: Mapping[str, object]) -> Settings:
    top: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {table: {} for table in _TABLES}
    for key, value in flat.items():
        kind = KEYS.get(key)
        if kind is None:
            raise _unknown(key)
        if value == "" and key == "stop_signal":
            continue
        try:
            checked = kind.check(value)
        except UsageError as error:
            raise UsageError(f"{key}: {error.what}", error.why, error.hint) from None
        except kinds.Expected as error:
            raise UsageError(f"{key}: expected {error}, got {_show(value)}") from None
        table, dot, name = key.partition(".")
        if dot:
            tables[table][name] = checked
        else:
            top[key] = checked
    settings = Settings(**top, **{table: build(**tables[table]) for table, build in _TABLES.items()})
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if settings.restart.max_delay < settings.restart.delay:
        raise UsageError(
            f"restart.max_delay: expected at least restart.delay, which is {settings.restart.delay:g}, "
            f"got {settings.restart.max_delay:g}"
        )
    targets = [Bind.parse(bind).target for bind in settings.binds]
    if settings.storage in targets:
        raise UsageError(f"storage: {settings.storage} is a place of binds already")
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"binds: expected each place in the container once, got {target} twice")
    _check_forwards(settings.network)


def _check_forwards(network: Network) -> None:
    asked = [("", forward) for forward in forwarded(network)]
    pair = forwards.first_overlap(asked, asked)
    if pair is not None:
        one, _, other = pair
        key = "ports" if {str(one), str(other)} & set(network.ports) else "port_range"
        raise UsageError(f"network.{key}: {other} and {one} ask for the same port of the host")


def _unknown(key: object) -> UsageError:
    import difflib  # rarely needed, and not small

    text = str(key)[:80]
    # `order` for `autostart.order`: the name alone is what people remember.
    near = [known for known in KEYS if known.rpartition(".")[2] == text]
    near = near or difflib.get_close_matches(text, [*KEYS, *_SHORT], n=1)
    return UsageError(
        f"{_show(text)[1:-1]}: there is no such setting",
        hint=f"Did you mean {near[0]!r}?" if near else "`nspawn set NAME` shows all settings.",
    )


def _show(value: object) -> str:
    """The value as a person would write it, cut to fit a line."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


# The table of keys and the dataclasses say the same, or nothing imports.
assert {name for name in KEYS if "." not in name} | set(_TABLES) == {item.name for item in fields(Settings)}
