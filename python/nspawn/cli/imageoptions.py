"""What `nspawn create --image` and `getroot` have in common: which image, and what is done with it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.errors import NotFound, NspawnError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from nspawn.model.finish import FinishWish
    from nspawn.model.imageref import ImageRef

#: Bytes of a file of keys, or of a line of standard input.
_LARGEST = 1 << 20
_OPTIONS = (
    *("variant", "arch", "keep", "password", "lock_password", "ssh_keys", "skip"),
    *("timezone", "locale"),
)


def add(parser: argparse._ActionsContainer) -> None:
    """The options, for a parser or a group of one."""
    parser.add_argument("--variant", metavar="NAME", help="of a distribution's image (default: 'default')")
    parser.add_argument("--arch", metavar="ARCH", help="for another machine than this one: amd64, arm64, ...")
    parser.add_argument("--keep", action="store_true", help="store what is fetched, for the next time")
    password = parser.add_mutually_exclusive_group()
    password.add_argument(
        "--password",
        metavar="TEXT",
        help="of root; '-' reads a line of standard input (default: a random one, shown once)",
    )
    password.add_argument("--lock-password", action="store_true", help="no password lets anybody in as root")
    parser.add_argument(
        "--ssh-keys",
        action="append",
        default=[],
        metavar="FILE",
        help="public keys that may log in as root; may be repeated",
    )
    parser.add_argument("--timezone", metavar="ZONE", help="Europe/Berlin, UTC ... (default: this machine's)")
    parser.add_argument("--locale", metavar="LOCALE", help="de_DE.UTF-8 ... (default: this machine's)")
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="STEP",
        help="leave a step after the unpacking out; a word that is none lists them; may be repeated",
    )


def given(arguments: argparse.Namespace) -> list[str]:
    """The options that were used, as they are written."""
    names = [name for name in _OPTIONS if getattr(arguments, name) not in (None, False, [])]
    return [f"--{name.replace('_', '-')}" for name in names]


def wish(arguments: argparse.Namespace) -> FinishWish:
    """What to do after the unpacking; UsageError.  Reads files of keys, and standard input for `-`."""
    from dataclasses import replace

    from nspawn.model import finish

    zone, locale = arguments.timezone, arguments.locale
    # The password is last: it may be asked for on the terminal.
    asked = finish.FinishWish(
        lock=arguments.lock_password,
        ssh_keys=tuple(key for path in arguments.ssh_keys for key in finish.parse_keys(_text(path))),
        skip=finish.parse_skip(arguments.skip),
        timezone="" if zone is None else finish.parse_timezone(zone),
        locale="" if locale is None else finish.parse_locale(locale),
    )
    return replace(finish.check(asked), password=_password(arguments.password))


def reference(text: str, environ: Mapping[str, str], variant: str | None = None) -> ImageRef:
    """The image of this name; a file's path from the working folder, `~` is the home folder."""
    from dataclasses import replace

    from nspawn.model import imageref

    found = imageref.parse(text)
    if variant and not isinstance(found, imageref.Distribution):
        raise UsageError("--variant: only a distribution's image has variants")
    if isinstance(found, imageref.File) and found.path != "-":
        path = found.path
        if path == "~" or path.startswith("~/"):
            path = environ.get("HOME", "/") + path[1:]
        return imageref.File(path=os.path.abspath(path))
    if variant and isinstance(found, imageref.Distribution):
        if not imageref.is_word(variant):
            raise UsageError(f"--variant: {variant[:40]!r} cannot be one")
        return replace(found, variant="" if variant == "default" else variant)
    return found


def _password(text: str | None) -> str | None:
    from nspawn.model import finish

    if text is None:
        return None
    if text != "-":
        return finish.parse_password(text)
    if sys.stdin.isatty():
        import getpass

        first = getpass.getpass("Password of root: ")
        if getpass.getpass("Again: ") != first:
            raise UsageError("the two passwords differ")
        return finish.parse_password(first)
    return finish.parse_password(sys.stdin.readline(_LARGEST).rstrip("\r\n"))


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise NspawnError(f"{path} cannot be read", error.strerror or str(error)) from None
    if len(data) > _LARGEST:
        raise UsageError(f"{path} holds no keys", f"it has more than {_LARGEST} bytes")
    try:
        return data.decode()
    except ValueError:
        raise UsageError(f"{path} holds no keys", "it is not text") from None
