"""Names of architectures: Debian's, which image servers use, for what people and kernels say."""

from __future__ import annotations

from nspawn.errors import UsageError

#: How uname(2), Android, and people call the same.
_OTHERS = {
    "amd64": ("x86_64", "x86-64", "x64"),
    "arm64": ("aarch64", "arm64-v8a", "armv8"),
    "armhf": ("armv7l", "armv7", "armv8l", "armeabi-v7a", "arm"),
    "armel": ("armv6l", "armv5tel", "armeabi"),
    "i386": ("i686", "i586", "x86"),
    "loong64": ("loongarch64",),
    "ppc64el": ("ppc64le",),
    "riscv64": ("riscv",),
    "s390x": (),
}
_BY_WORD = {word: name for name, words in _OTHERS.items() for word in (name, *words)}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def parse_machine(text: str) -> str:
    """The server's name for what a person or uname(2) says; an unknown word stays: the index decides."""
    word = text.strip().lower()
    if not 0 < len(word) <= 32 or not _LETTERS.issuperset(word):
        raise UsageError(f"{text[:80]!r} is not an architecture", hint=f"Such as: {', '.join(_OTHERS)}.")
    return _BY_WORD.get(word, word)
