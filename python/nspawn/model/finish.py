"""What is done with a root file system after it was unpacked: the wishes, the facts, what came of it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from nspawn.errors import UsageError

#: Every step by its name, in their order, and what it does; each can be switched off (`--skip NAME`).
STEPS = {
    "resolv.conf": "where its programs ask for names, with the host's network",
    "password": "a password of root: a random one, a given one, or none that fits",
    "ssh-keys": "keys that may log in as root by ssh",
    "machine-id": "an own /etc/machine-id where systemd is",
    "groups": "groups that may open sockets, on kernels of Android that ask for them",
    "systemd": "what journald and logind leave alone in a container",
    "locale": "the language: a given one or that of this machine, where the image has it",
    "timezone": "the time zone: a given one or that of this machine, where the image has it",
}

_KEY_TYPES = frozenset(
    (
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    )
)
_MOST_KEYS = 1000
_LONGEST_KEY = 16384
_LONGEST_PASSWORD = 256
#: No part can be "..", and none is empty: a path of it stays below its folder.
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")
_LOCALE = re.compile(r"([a-z]{2,3}_[A-Z]{2}|C)(\.(UTF-8|utf-8|UTF8|utf8))?")


@dataclass(frozen=True, kw_only=True)
class FinishWish:
    """What a person asks for.  network: the mode, as in the settings.

    password: of root; None for a random one.  lock: none that fits instead.  ssh_keys: lines, as parse_keys
    gives them.  skip: names of STEPS.  timezone, locale: as in HostFacts (or "C"), "" for those of this
    machine.
    """

    network: str = "host"
    password: str | None = None
    lock: bool = False
    ssh_keys: tuple[str, ...] = ()
    skip: frozenset[str] = frozenset()
    timezone: str = ""
    locale: str = ""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What this machine is like.  groups: whether only the groups 3003 to 3005 may open sockets.

    resolv: the text of a resolv.conf that is right with the host's network.  timezone: as "Europe/Berlin";
    locale: as "de_DE"; "" for not known.
    """

    groups: bool = False
    resolv: str = ""
    timezone: str = ""
    locale: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """password: the random one, to be shown once, or None.  notes: for a person.

    steps: each with "done", "off" (on request), "unneeded" or "failed".
    """

    password: str | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form; without the password, which is handed to one person once."""
        return {"notes": list(self.notes), "steps": dict(self.steps)}


def parse_skip(names: object) -> frozenset[str]:
    """Names of STEPS, from a list; UsageError."""
    if not isinstance(names, (list, tuple)):
        raise UsageError("skip: expected a list of steps", hint=f"The steps: {', '.join(STEPS)}.")
    for name in names:
        if name not in STEPS:
            raise UsageError(
                f"there is no step {str(name)[:40]!r} to skip", hint=f"The steps: {', '.join(STEPS)}."
            )
    return frozenset(names)


def is_timezone(text: str) -> bool:
    """Whether it has the form of a zone's name, such as "Europe/Berlin"."""
    return bool(_ZONE.fullmatch(text))


def parse_timezone(text: str) -> str:
    """A time zone by its name in the database of zones; UsageError.  Whether an image has it is not asked."""
    if not is_timezone(text):
        raise UsageError(f"{text[:80]!r} is no time zone", hint="As in: Europe/Berlin, or UTC.")
    return text


def parse_locale(text: str) -> str:
    """A locale such as `de_DE.UTF-8`, without its encoding, which always is UTF-8; UsageError."""
    found = _LOCALE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text[:80]!r} is no locale that can be set", hint="As in: de_DE.UTF-8, or C.UTF-8."
        )
    return found[1]


def check(wish: FinishWish) -> FinishWish:
    """The wish itself; UsageError when it asks for a place and leaves its step out."""
    for name, value in (("timezone", wish.timezone), ("locale", wish.locale)):
        if value and name in wish.skip:
            raise UsageError(f"the step {name} is left out, and {value} asked for", hint="Say one of them.")
    return wish


def parse_password(text: str) -> str:
    """The password itself, or UsageError."""
    if not text:
        raise UsageError("the password is empty", hint="For no password at all, lock it instead.")
    if len(text.encode("utf-8", "replace")) > _LONGEST_PASSWORD:
        raise UsageError(f"the password is longer than {_LONGEST_PASSWORD} bytes")
    if not text.isprintable():
        raise UsageError("the password holds characters that cannot be typed")
    return text


def parse_keys(text: str) -> tuple[str, ...]:
    """The keys in a file of public keys of OpenSSH, each once; UsageError names the line."""
    keys: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("-----BEGIN"):
            raise UsageError(
                "that is a private key", "it must never leave its machine", "Give the file that ends in .pub."
            )
        try:
            key = _parse_key(line)
        except ValueError as error:
            raise UsageError(
                f"line {number} is not a public key", str(error), "Give a file such as ~/.ssh/id_ed25519.pub."
            ) from None
        if key not in keys:
            keys.append(key)
        if len(keys) > _MOST_KEYS:
            raise UsageError(f"there are more than {_MOST_KEYS} keys")
    if not keys:
        raise UsageError("there is no public key in it", hint="Give a file such as ~/.ssh/id_ed25519.pub.")
    return tuple(keys)


def _parse_key(line: str) -> str:
    """`TYPE BASE64 [COMMENT]`, sshd(8); ValueError."""
    if len(line) > _LONGEST_KEY or not line.isprintable():
        raise ValueError("it is too long or holds what cannot be printed")
    kind, _, rest = line.partition(" ")
    if kind not in _KEY_TYPES:
        raise ValueError(f"it begins with {kind[:40]!r}, which is no type of keys (options are not taken)")
    body, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("its key is not base64") from None
    # RFC 4253, 6.6: the blob begins with the type again, with its length before it.
    length = int.from_bytes(blob[:4], "big")
    if length != len(kind) or blob[4 : 4 + length] != kind.encode() or len(blob) < 4 + length + 32:
        raise ValueError("its key is damaged")
    return f"{kind} {body} {comment.strip()}".strip()
