"""The words by which people mean uplinks: an interface, a glob of interfaces, or a kind."""

from __future__ import annotations

from nspawn.errors import UsageError

KINDS = ("vpn", "wifi", "ethernet", "mobile")
#: IFNAMSIZ without its zero.
LONGEST = 15
_GLOB = "*?[]"
_HINT = f"Give an interface (wlan0), a pattern (rmnet*), or one of {', '.join(KINDS)}."


def check(word: str) -> str:
    """The word itself, or UsageError.  What is no kind may be an interface that is not there yet."""
    good = bool(word) and word.isascii() and word.isprintable() and not set(word) & set(" /,:")
    if not good or word in (".", "..") or word.startswith("-"):
        raise UsageError(f"{word[:60]!r} is neither an interface nor a kind of network", hint=_HINT)
    if len(word) > LONGEST and not is_glob(word):
        raise UsageError(f"{word[:60]!r} is no interface", f"a name has at most {LONGEST} characters", _HINT)
    if len(word) > 60:
        raise UsageError(f"{word[:60]!r} is too long", "", _HINT)
    return word


def check_interface(name: str) -> str:
    """A name that an interface may be given, or UsageError."""
    if is_glob(check(name)) or name in KINDS:
        raise UsageError(f"{name!r} is not the name of one interface")
    return name


def split(text: str) -> tuple[str, ...]:
    """Words with commas between them, each checked; or UsageError."""
    return tuple(check(word.strip()) for word in text.split(","))


def is_glob(word: str) -> bool:
    return any(c in _GLOB for c in word)


def fits(pattern: str, name: str) -> bool:
    """Whether a name is of a pattern: `*`, `?` and `[...]` as in glob(7).  fnmatch would import re."""
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        rest = rest.lstrip("*")
        return not rest or any(fits(rest, name[at:]) for at in range(len(name) + 1))
    if not name:
        return False
    if first == "[":
        inside, bracket, after = rest[1:].partition("]")
        if bracket:
            inside = rest[0] + inside
            return _in_set(inside, name[0]) and fits(after, name[1:])
    return (first == "?" or first == name[0]) and fits(rest, name[1:])


def _in_set(inside: str, c: str) -> bool:
    """`a-z0`, `!x`."""
    negated = inside[0] in "!^" and len(inside) > 1
    members = inside[negated:]
    found = False
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            found = found or members[at] <= c <= members[at + 2]
            at += 3
        else:
            found = found or members[at] == c
            at += 1
    return found != negated
