"""What one setting may hold: how it is read from TOML or JSON, and from the text after `key=`.

A kind raises Expected ("a whole number"); `model.settings` adds the key's path.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nspawn.model import boot, forwards, names, networds, restart, runspec

#: A day: no sensible delay or stop time is longer, and it keeps every timer's arithmetic exact.
LONGEST_SECONDS = 86400.0
_LONGEST_TEXT = 4096
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?)?")
_SIZE = re.compile(r"(?P<count>[0-9]{1,15})(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE)
_EXPOSED = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_YES = frozenset(("true", "yes", "on", "1"))
_NO = frozenset(("false", "no", "off", "0"))


class Expected(Exception):
    """What the value should have been: "a whole number"."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """check: a value from TOML or JSON to ours; read: the text of `nspawn set` to what `check` takes."""

    check: Callable[[object], object]
    read: Callable[[str], object]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Expected("text")
    if "\0" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value):
        raise Expected("Unicode text without NUL")
    if len(value) > _LONGEST_TEXT:
        raise Expected(f"at most {_LONGEST_TEXT} characters")
    return value


def _line(value: object) -> str:
    text = _text(value)
    if not text.isprintable():
        raise Expected("one line of printable text")
    return text


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Expected("true or false")
    return value


def _read_flag(text: str) -> object:
    lower = text.lower()
    return True if lower in _YES else False if lower in _NO else text


def _whole(low: int, high: int) -> Kind:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Expected("a whole number")
        if not low <= value <= high:
            raise Expected(f"a whole number from {low} to {high}")
        return value

    return Kind(check=check, read=_read_whole)


def _read_whole(text: str) -> object:
    # int() takes "1_000", " 1 " and other scripts' digits as well; a setting has one spelling.
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def _number(what: str, high: float) -> Kind:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Expected(what)
        if not 0 <= value <= high:  # also refuses nan
            raise Expected(f"{what} from 0 to {high:g}")
        return float(value)

    def read(text: str) -> object:
        return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else text

    return Kind(check=check, read=read)


def _path(value: object) -> str:
    text = _text(value)
    if text and not text.startswith("/"):
        raise Expected("an absolute path")
    return text


def _place(value: object) -> str:
    text = _line(value)
    return runspec.parse_target(text) if text else ""


def _condition(value: object) -> str:
    if value not in boot.CONDITIONS or not isinstance(value, str):
        raise Expected(f"a list of {', '.join(boot.CONDITIONS)}")
    return value


def _conditions(value: object) -> tuple[str, ...]:
    """Each once, in our order."""
    named = _each(_condition)(value)
    return tuple(condition for condition in boot.CONDITIONS if condition in named)


def _host_name(value: object) -> str:
    text = _text(value)
    return names.parse_host_name(text) if text else ""


def _user(value: object) -> str:
    text = _text(value)
    if text and not _USER.fullmatch(text):
        raise Expected("a user as NAME, UID, NAME:GROUP or UID:GID")
    return text


def _choice(*choices: str) -> Kind:
    def check(value: object) -> str:
        if value not in choices or not isinstance(value, str):
            raise Expected(f"one of {', '.join(choices)}")
        return value

    return Kind(check=check, read=str)


def _bind(value: object) -> str:
    return str(runspec.Bind.parse(_line(value)))


def _port(value: object) -> str:
    return str(forwards.parse_publish(_line(value)))


def _exposed(value: object) -> str:
    """`80/tcp`; tcp where nothing is said."""
    found = _EXPOSED.fullmatch(_line(value))
    if found is None or not 0 < int(found[1]) <= forwards.LAST_PORT:
        raise Expected("a list of ports such as 80/tcp")
    return f"{int(found[1])}/{found[2] or 'tcp'}"


def _volume(value: object) -> str:
    return runspec.parse_target(_line(value))


def _port_range(value: object) -> str:
    text = _line(value)
    forwards.parse_range(text)
    return text


def _pins(value: object) -> tuple[str, ...]:
    return networds.parse_pins(_each(_line)(value))


def _address4(value: object) -> str:
    text = _line(value)
    return networds.parse_address4(text) if text else ""


def _server(value: object) -> str:
    return networds.parse_server(_line(value))


def _name(value: object) -> str:
    return names.parse_container_name(_text(value))


def _memory(value: object) -> int:
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if not found:
            raise Expected("a size in bytes, or with K, M, G or T")
        value = int(found["count"]) * _UNITS[found["unit"].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise Expected("a size in bytes, or with K, M, G or T")
    return value


def _signal(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return signal_name(signal_number(_text(value)))


def signal_number(text: str) -> int:
    """The number of `TERM`, `SIGTERM`, `15` or `SIGRTMIN+3`; Expected when there is none such."""
    upper = text.upper()
    if re.fullmatch(r"[0-9]{1,2}", upper):
        number = int(upper)
    else:
        base, plus, more = upper.removeprefix("SIG").partition("+")
        if plus and not (base == "RTMIN" and re.fullmatch(r"[0-9]{1,2}", more)):
            raise Expected("a signal such as SIGTERM")
        found = getattr(signal, f"SIG{base}", None) if re.fullmatch(r"[A-Z0-9]{1,10}", base) else None
        if not isinstance(found, signal.Signals):
            raise Expected("a signal such as SIGTERM")
        number = found + int(more or 0)
    if not 1 <= number <= signal.SIGRTMAX:
        raise Expected("a signal such as SIGTERM")
    return number


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; real-time signals relative to SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else str(number)


def _each(check: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    def check_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise Expected("a list")
        if len(value) > 1000:
            raise Expected("a list of at most 1000")
        return tuple(check(item) for item in value)

    return check_all


def _read_list(text: str) -> object:
    """`a,b`, or a JSON array when an item holds a comma."""
    if text.startswith("["):
        return _json(text)
    return [item.strip() for item in text.split(",") if item.strip()]


def _read_words(text: str) -> object:
    """Words as a shell splits them, or a JSON array."""
    if text.startswith("["):
        return _json(text)
    try:
        return shlex.split(text)
    except ValueError:
        return text


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _arguments(value: object) -> tuple[str, ...]:
    arguments = _each(_text)(value)
    if arguments and not arguments[0]:
        raise Expected("a command, its first word not empty")
    return arguments


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Expected('a table of NAME = "value"')
    pairs: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(text, str):
            raise Expected(f"text for {name!r}")
        pairs.update((runspec.parse_env(f"{_text(name)}={_text(text)}"),))
        if name not in pairs:
            raise Expected("names of letters, digits and '_'")
    return pairs


LINE = Kind(check=_line, read=str)
FLAG = Kind(check=_flag, read=_read_flag)
ORDER = _whole(-1000, 1000)
COUNT = _whole(0, 1 << 31)
SECONDS = _number("a number of seconds", LONGEST_SECONDS)
CPUS = _number("a number of processors", 4096.0)
PLACE = Kind(check=_place, read=str)
CONDITIONS = Kind(check=_conditions, read=_read_list)
PATH = Kind(check=_path, read=str)
HOST_NAME = Kind(check=_host_name, read=str)
USER = Kind(check=_user, read=str)
SIGNAL = Kind(check=_signal, read=str)
MEMORY = Kind(check=_memory, read=str)
ARGUMENTS = Kind(check=_arguments, read=_read_words)
BINDS = Kind(check=_each(_bind), read=_read_list)
PORTS = Kind(check=_each(_port), read=_read_list)
PORT_RANGES = Kind(check=_each(_port_range), read=_read_list)
EXPOSED = Kind(check=_each(_exposed), read=_read_list)
VOLUMES = Kind(check=_each(_volume), read=_read_list)
PINS = Kind(check=_pins, read=_read_list)
ADDRESS4 = Kind(check=_address4, read=str)
SERVERS = Kind(check=_each(_server), read=_read_list)
NAMES = Kind(check=_each(_name), read=_read_list)
ENVIRONMENT = Kind(check=_environment, read=_json)
NETWORK_MODE = _choice(*networds.MODES)
ON_DOWN = _choice(*networds.ON_DOWN)
IPV6 = _choice(*networds.IPV6_MODES)
POLICY = _choice(*restart.POLICIES)
