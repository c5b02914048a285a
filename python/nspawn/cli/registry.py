"""`nspawn image login` and `logout`: who we are to registries."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nspawn.cli import base
from nspawn.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from typing import Any

_LONGEST = 16384


def add(words: argparse._SubParsersAction[Any]) -> None:
    """The two words of `nspawn image`; `call` is what runs them."""
    word = words.add_parser(
        "login",
        help="Store a name and password for a registry",
        description="Store a name and password for a registry, when it says that they are right.  "
        "The password is asked for on the terminal, or read from standard input.",
    )
    word.add_argument("registry", metavar="REGISTRY", help="such as docker.io, ghcr.io or HOST:PORT")
    word.add_argument("-u", "--user", metavar="USER", help="asked for when it is not given")
    word.add_argument(
        "--realm",
        action="append",
        default=[],
        metavar="HOST",
        help="the registry's own server for tokens, when that is another; may be repeated",
    )
    word.set_defaults(call=login)
    word = words.add_parser(
        "logout", help="Forget a login at a registry", description="Forget a login at a registry."
    )
    word.add_argument("registry", metavar="REGISTRY")
    word.set_defaults(call=logout)


def login(arguments: argparse.Namespace) -> int:
    """Ask, check, store."""
    from nspawn.android import resolver
    from nspawn.model import ociref
    from nspawn.service import registries

    host = ociref.parse_host(arguments.registry)
    terminal = os.isatty(0)
    user = arguments.user or ""
    if not user and not terminal:
        raise UsageError("who are you there?", hint=f"nspawn image login -u USER {host} < FILE")
    user = user or _ask(f"User at {host}: ")
    password = _ask_secret(f"Password of {user} at {host}: ") if terminal else _read_line()
    resolver.install(os.environ)
    looked = registries.login(base.layout(), host, user, password, tuple(arguments.realm))
    base.say(f"logged in at {host} as {user}")
    if not looked:
        sys.stderr.write(f"{host} lets everybody in: the password is stored, and was not looked at\n")
    return 0


def logout(arguments: argparse.Namespace) -> int:
    """Forget."""
    from nspawn.service import registries

    base.say(f"logged out of {registries.logout(base.layout(), arguments.registry)}")
    return 0


def _ask(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline(_LONGEST).strip()


def _ask_secret(prompt: str) -> str:
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise UsageError("no password was given") from None


def _read_line() -> str:
    """A line of standard input: a token from a file, or from another program."""
    data = sys.stdin.buffer.readline(_LONGEST + 2)
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("that cannot be a password", "it is no text") from None
