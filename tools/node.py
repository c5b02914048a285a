"""The page's libraries and checkers, from npm."""

from __future__ import annotations

import platform

from tools import places
from tools.process import execute, say
from tools.stamps import digest, is_stamped, stamp

#: Files of npm packages that the page ships: they are committed, so that running needs no npm.
VENDORED = {"htm-preact-standalone.js": "htm/preact/standalone.module.js"}


def setup_node() -> None:
    """node_modules from package-lock.json (npm checks each file's integrity), no install scripts."""
    state = digest(places.HOME / "package-lock.json", platform.machine())
    if (places.HOME / "node_modules").is_dir() and is_stamped("node", state):
        return
    say("installing the npm packages of package-lock.json")
    execute("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    stamp("node", state)


def vendored_differences() -> list[str]:
    """Committed files of npm packages that are not what npm gives."""
    found = []
    for name, source in VENDORED.items():
        ours, theirs = places.HOME / "webroot/vendor" / name, places.HOME / "node_modules" / source
        if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
            found.append(f"webroot/vendor/{name} is not node_modules/{source}: run `build.py lock`")
    return found
