"""The time zone and the language of a root file system: those asked for, or those of this machine."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from nspawn.images.tree import Odd
from nspawn.model.finish import is_timezone

if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.images.tree import Tree
    from nspawn.model.finish import FinishWish, HostFacts

_LOCALE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
_ARCHIVE = "/usr/lib/locale/locale-archive"
#: The first word of glibc's locale archive, and the most that is read of its names (locale/locarchive.h).
_ARCHIVE_MAGIC = 0xDE020109
_MOST_NAMES = 4 << 20
_LANG = re.compile(r"^[ \t]*(?:export[ \t]+)?LANG=[\"']?([^\"'\n]*)[\"']?[ \t]*$", re.MULTILINE)


def set_timezone(tree: Tree, wish: FinishWish, facts: HostFacts, note: Callable[[str], None]) -> bool:
    """Where the image knows the zone: /etc/localtime leads to it, and Debian's /etc/timezone names it."""
    zone = wish.timezone or facts.timezone
    if not zone:
        return False
    if not is_timezone(zone):
        raise Odd(f"{zone[:80]!r} is no time zone")
    if not tree.exists("/etc") or not tree.is_file(f"/usr/share/zoneinfo/{zone}"):
        if wish.timezone:
            note(f"the image has no time zone {zone}; its package tzdata brings them")
        return False
    tree.link("/etc/localtime", f"../usr/share/zoneinfo/{zone}")
    if tree.exists("/etc/timezone") or tree.exists("/etc/debian_version"):
        tree.write("/etc/timezone", f"{zone}\n")
    return True


def set_locale(tree: Tree, wish: FinishWish, facts: HostFacts, note: Callable[[str], None]) -> bool:
    """LANG for those who log in: the language where the image has it, else its own or C.UTF-8."""
    if tree.exists("/etc/debian_version"):
        path = "/etc/default/locale"
    elif tree.exists("/etc/locale.conf") or tree.exists("/usr/lib/systemd/systemd"):
        path = "/etc/locale.conf"
    else:
        if wish.locale:
            note(f"it is nowhere known where this image keeps its language, so {wish.locale} was not set")
        return False  # musl knows no other than C.UTF-8, and the rest is told by nobody
    locale = wish.locale or facts.locale
    name = locale if _LOCALE.fullmatch(locale) and _has(tree, locale) else ""
    if wish.locale and wish.locale != "C" and not name:
        note(f"the image has no language {wish.locale}; its packages of locales bring them")
    text = tree.text(path) or ""
    before = _LANG.search(text)
    chosen = before is not None and before[1] not in ("", "C", "POSIX")
    if not name and chosen and wish.locale != "C":
        return False
    line = f"LANG={f'{name}.UTF-8' if name else 'C.UTF-8'}\n"
    rest = _LANG.sub("", text).strip("\n")
    tree.write(path, f"{rest}\n{line}" if rest else line)
    return True


def _has(tree: Tree, name: str) -> bool:
    """Whether glibc in there has the locale: a folder, or a name in its archive."""
    if any(tree.exists(f"/usr/lib/locale/{name}.{form}") for form in ("utf8", "UTF-8")):
        return True
    head = tree.peek(_ARCHIVE, 0, 32)
    if len(head) < 32:
        return False
    # magic, serial, offset, used and size of the hash of names, offset and used of their text.
    for order in "<>":
        words = struct.unpack(f"{order}8I", head)
        if words[0] == _ARCHIVE_MAGIC:
            names = tree.peek(_ARCHIVE, words[5], min(words[6], _MOST_NAMES))
            return f"{name}.utf8".encode() in names.split(b"\0")
    return False
