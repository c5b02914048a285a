"""Where the libraries of others are (flask, waitress, tomli_w), for interpreters started with `-I -S`.

Only what needs a library calls this: the web process, and commands that write settings.
"""

from __future__ import annotations

import os
import sys

from nspawn.errors import Unsupported

#: The checkout or the module: what holds python/, system/ and .venv/.
HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def candidates(home: str, version: tuple[int, int]) -> tuple[str, ...]:
    """The folders that may hold the libraries, best first: the phone's bundle, a checkout's environment."""
    lib = f"lib/python{version[0]}.{version[1]}/site-packages"
    return (f"{home}/python/{lib}", f"{home}/.venv/{lib}")


def add_site_packages(home: str = HOME) -> str:
    """Put the libraries at the end of sys.path, once, and return their folder.

    Raises Unsupported when this interpreter has none.
    """
    places = candidates(home, sys.version_info[:2])
    for place in places:
        if os.path.isdir(place):
            if place not in sys.path:
                sys.path.append(place)
            return place
    raise Unsupported(
        "the libraries are not installed",
        f"no {' and no '.join(places)}",
        "in a checkout, run: python3 build.py setup",
    )
