"""What an image's configuration says about its run, as settings of a container could hold it.

The configuration is whoever made the image's: what a container's settings would not take is either left
out with a note (a port nobody could open), or the image is refused (a command or a user that is something
else than what it says would be run in its place).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nspawn.errors import Damaged, NspawnError
from nspawn.model import kinds, runspec
from nspawn.model.image import ImageConfig
from nspawn.model.kinds import Expected
from nspawn.model.ociplatform import Platform, fit

if TYPE_CHECKING:
    from collections.abc import Callable

#: More of each than these are left out: they would not fit into a container's settings.
_MOST = 1000
_MOST_PORT = 65535
_WHAT = "the image's configuration"


def platform(document: Mapping[str, object]) -> Platform:
    """For which machine it says to be; "" for what it does not say."""
    words = {
        key: text if isinstance(text := document.get(key), str) and len(text) <= 40 else ""
        for key in ("os", "architecture", "variant")
    }
    return Platform(**words)


def suits(document: Mapping[str, object], machine: Platform) -> bool:
    """Whether it runs on the machine; what it does not say is taken to."""
    said = platform(document)
    return (not said.os and not said.architecture) or fit(machine, said) is not None


def parse(document: Mapping[str, object], layers: int) -> tuple[ImageConfig, tuple[str, ...]]:
    """The settings, and notes on what was left out.  layers: how many its manifest has.

    Raises Damaged.
    """
    check_count(document, layers)
    given = document.get("config")
    if given is None:
        return ImageConfig(), ()
    if not isinstance(given, Mapping):
        raise Damaged(f"{_WHAT} cannot be read", "config: expected an object")
    notes: list[str] = []
    config = ImageConfig(
        entrypoint=_words(given, "Entrypoint"),
        command=_words(given, "Cmd"),
        env=_environment(given, notes),
        user=_user(given),
        workdir=_workdir(given),
        ports=_keys(given, "ExposedPorts", _port, notes),
        stop_signal=_signal(given, notes),
        volumes=_keys(given, "Volumes", _volume, notes),
    )
    _words_together(config)
    return config, tuple(notes)


def diff_ids(document: Mapping[str, object]) -> tuple[str, ...]:
    """The digests of its unpacked layers; empty when it does not tell."""
    rootfs = document.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
    if not isinstance(found, list):
        return ()
    return tuple(each for each in found if isinstance(each, str))


def check_count(document: Mapping[str, object], layers: int) -> None:
    """Damaged when the configuration tells of another count of layers than there are."""
    told = diff_ids(document)
    if told and len(told) != layers:
        raise Damaged(
            "the image's parts do not belong together",
            f"its manifest has {layers} layers, its configuration {len(told)}",
        )


def _words(given: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = given.get(key)
    if value is None or value == "":
        return ()
    # A text alone is one word: so do Docker's own programs read what very old ones wrote.
    words = [value] if isinstance(value, str) else value
    if isinstance(words, list) and words and words[0] == "" and len(words) == 1:
        return ()
    return _checked(key, lambda: kinds.ARGUMENTS.check(words))  # type: ignore[return-value]


def _words_together(config: ImageConfig) -> None:
    """What is run is a program: its first word begins like one."""
    words = config.entrypoint or config.command
    if words and (words[0].startswith("-") or not words[0].strip()):
        raise _wrong("Entrypoint" if config.entrypoint else "Cmd", f"{words[0][:80]!r} is no program")


def _environment(given: Mapping[str, object], notes: list[str]) -> dict[str, str]:
    value = given.get("Env") or []
    if not isinstance(value, list):
        raise _wrong("Env", "expected a list")
    found: dict[str, str] = {}
    left_out = 0
    for text in value[: 10 * _MOST]:
        try:
            pairs = (
                kinds.ENVIRONMENT.check(dict([runspec.parse_env(text)])) if isinstance(text, str) else None
            )
        except (NspawnError, Expected):
            pairs = None
        if isinstance(pairs, dict) and len(found) < _MOST:
            found.update(pairs)
        else:
            left_out += 1
    left_out += max(0, len(value) - 10 * _MOST)
    if left_out:
        notes.append(f"{_count(left_out, 'variable')} of the image cannot be set here, and will not be")
    return found


def _user(given: Mapping[str, object]) -> str:
    value = given.get("User")
    if value is None:
        return ""
    if isinstance(value, str):
        value = value.strip().removesuffix(":")  # `app:` is written for "app and its own group"
    if value in ("root:root", "0:0", "root:0", "0:root"):
        value = "root"
    return _checked("User", lambda: kinds.USER.check(value))  # type: ignore[return-value]


def _workdir(given: Mapping[str, object]) -> str:
    value = given.get("WorkingDir")
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value.isprintable():
        value = value if value.startswith("/") else f"/{value}"
        return _checked("WorkingDir", lambda: kinds.PATH.check(value))  # type: ignore[return-value]
    raise _wrong("WorkingDir", "expected a folder's path")


def _signal(given: Mapping[str, object], notes: list[str]) -> str:
    value = given.get("StopSignal")
    if value is None or value == "":
        return ""
    try:
        return str(kinds.SIGNAL.check(value))
    except Expected:
        notes.append(
            f"the image wants to be stopped by {ascii(value)[:40]}, which is no signal: SIGTERM is used"
        )
        return ""


def _keys(
    given: Mapping[str, object], key: str, check: Callable[[str], str], notes: list[str]
) -> tuple[str, ...]:
    """The keys of an object: Go's way to write a set."""
    value = given.get(key) or {}
    names = list(value) if isinstance(value, (Mapping, list)) else None
    if names is None:
        raise _wrong(key, "expected an object")
    found: list[str] = []
    left_out = max(0, len(names) - 10 * _MOST)
    for name in names[: 10 * _MOST]:
        try:
            text = check(name) if isinstance(name, str) else ""
        except NspawnError:
            text = ""
        if text and text not in found and len(found) < _MOST:
            found.append(text)
        elif text not in found:
            left_out += 1
    if left_out:
        notes.append(f"{_count(left_out, 'entry', 'entries')} of {key} cannot be used, and will not be")
    return tuple(found)


def _port(text: str) -> str:
    """`80/tcp` from `80`, `80/tcp` or `80/UDP`; "" for others, such as sctp."""
    number, _slash, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    good = number.isascii() and number.isdigit() and len(number) <= 5 and 0 < int(number) <= _MOST_PORT
    return f"{int(number)}/{protocol}" if good and protocol in ("tcp", "udp") else ""


def _volume(text: str) -> str:
    return runspec.parse_target(text) if text.isprintable() and len(text) <= 4096 else ""


def _checked(key: str, check: Callable[[], object]) -> object:
    try:
        return check()
    except Expected as error:
        raise _wrong(key, f"expected {error}") from None
    except NspawnError as error:
        raise _wrong(key, str(error)) from None


def _wrong(key: str, why: str) -> Damaged:
    return Damaged(f"{_WHAT} cannot be used", f"{key}: {why}", "The image's maker has to correct it.")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
