"""Which image a person means by `debian`, `debian:13`, `ubuntu:24` or `suse:leap`.

What the server's index tells (its names, titles, aliases and dates of builds) decides.  The tables here hold
only what it does not tell: what people call a distribution, code names without a number, and which releases
of Debian and Devuan were stable when this was written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nspawn.errors import Damaged, NotFound, UsageError
from nspawn.model.catalog import Catalog, Product

#: What people type, for the server's name.
_NAMES = {
    "alma": "almalinux",
    "alpinelinux": "alpine",
    "altlinux": "alt",
    "amazon": "amazonlinux",
    "amzn": "amazonlinux",
    "arch": "archlinux",
    "centos-stream": "centos",
    "kalilinux": "kali",
    "linuxmint": "mint",
    "ol": "oracle",
    "oraclelinux": "oracle",
    "rocky": "rockylinux",
    "suse": "opensuse",
    "void": "voidlinux",
}
#: Code names that a server may list without their number.
_NUMBERS = {
    "debian": {"buster": 10, "bullseye": 11, "bookworm": 12, "trixie": 13, "forky": 14, "duke": 15},
    "devuan": {"beowulf": 3, "chimaera": 4, "daedalus": 5, "excalibur": 6, "freia": 7},
}
_DOTTED = {
    "ubuntu": {
        "bionic": (18, 4),
        "focal": (20, 4),
        "jammy": (22, 4),
        "noble": (24, 4),
        "oracular": (24, 10),
        "plucky": (25, 4),
        "questing": (25, 10),
        "resolute": (26, 4),
    },
}
#: The newest stable one that we know of.  Of later ones the newest in the index is still being made.
_STABLE = {"debian": 13, "devuan": 6}
#: Numbered by year and month of their publication; before the end of that month they are being made.
_DATED = frozenset({"nixos", "openeuler", "ubuntu"})
#: Of those, the month in even years that is supported for long.
_LONG = {"ubuntu": 4, "openeuler": 3}
#: Always in the making.
_MOVING = frozenset(
    {
        *("ceres", "cauldron", "devel", "edge", "experimental", "rawhide", "sid", "sisyphus"),
        *("snapshot", "snapshots", "testing", "tumbleweed", "unstable"),
    }
)
_CURRENT = frozenset({"", "current", "default", "latest", "release", "stable"})
#: Variants in the order in which they are taken when there is no `default`.
_VARIANTS = ("default", "openrc", "systemd")
_HIDDEN = frozenset({"cloud", "tinycloud"})
_PURPOSES = frozenset({"devel", "leap", "lts", "oldstable", "rolling", "testing", "unstable"})
_MOST_SHOWN = 12

_LONG_TERM, _STABLE_STAGE, _MAKING, _NEVER = 3, 2, 1, 0


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """notes: what the person should know about the choice."""

    product: Product
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Release:
    """stage: the higher, the more settled.  number: () when nothing tells."""

    name: str
    stage: int
    number: tuple[int, ...]
    products: tuple[Product, ...]

    @property
    def rank(self) -> tuple[int, tuple[int, ...], str]:
        return self.stage, self.number, self.name


def choose(catalog: Catalog, distribution: str, release: str = "", *, arch: str, variant: str = "") -> Chosen:
    """The product that is meant.  arch: the server's name (model.machines).

    NotFound with what there is instead; UsageError for words that are none.
    """
    name = find_distribution(catalog, distribution)
    everywhere = [product for product in catalog.products if product.distribution == name]
    here = [product for product in everywhere if product.arch == arch]
    if not here:
        raise NotFound(
            f"there is no image of {name} for {arch}",
            f"the server has it for {', '.join(sorted({product.arch for product in everywhere}))}",
            "Choose another architecture by -a ARCH, or see: getroot --list",
        )
    word = _fold(name, release)
    products, notes = _products(catalog, name, word, here, everywhere)
    product = _variant(catalog, name, products, variant)
    return Chosen(product=product, notes=(*notes, *_passed_over(catalog, product, word, variant)))


def listing(
    catalog: Catalog, arch: str, search: str = "", *, hidden: bool = False
) -> tuple[tuple[Product, bool], ...]:
    """What there is for an architecture, sorted, newest releases first.

    search: only the distributions whose name holds this (or the one it stands for).  hidden: also the images
    for clouds.  The flag tells the one that the distribution's bare name stands for.
    """
    word = search.strip().lower()
    words = {word, _NAMES.get(word, word)}
    rows: list[tuple[Product, bool]] = []
    groups: dict[str, list[Product]] = {}
    for product in catalog.products:
        if product.arch == arch:
            groups.setdefault(product.distribution, []).append(product)
    for name in sorted(groups):
        if not any(each in name for each in words):
            continue
        releases = sorted(_releases(groups[name]), key=lambda release: release.rank, reverse=True)
        first = _preferred(releases[0].products)
        rows += [
            (product, product is first)
            for release in releases
            for product in sorted(release.products, key=_variant_rank)
            if hidden or product.variant not in _HIDDEN or product is first
        ]
    return tuple(rows)


def find_distribution(catalog: Catalog, text: str) -> str:
    """The server's name for what a person calls it; NotFound with the nearest."""
    word = text.strip().lower()
    names = catalog.distributions()
    name = _NAMES.get(word, word)
    if name in names:
        return name
    if word in names:
        return word
    for key, reason in catalog.refused.items():
        if key.lower().startswith(f"{name}:"):
            raise Damaged(f"the server's entries of {name} cannot be used", reason)
    known = (*names, *(alias for alias, real in _NAMES.items() if real in names))
    near = difflib.get_close_matches(word[:64], known, 3, 0.6)
    hint = f"Did you mean {' or '.join(near)}?  " if near else ""
    raise NotFound(f"there is no distribution {text[:80]!r}", hint=f"{hint}See: getroot --list")


def _products(
    catalog: Catalog, name: str, word: str, here: Sequence[Product], everywhere: Sequence[Product]
) -> tuple[tuple[Product, ...], tuple[str, ...]]:
    """Those that the release word means, for our architecture."""
    releases = _releases(here)
    if word in _CURRENT and not any(word == release.name.lower() for release in releases):
        best = max(releases, key=lambda release: release.rank)
        overall = max(_releases(everywhere), key=lambda release: release.rank)
        notes = []
        if overall.rank > best.rank:
            notes.append(
                f"{name} {overall.name} has no image for {here[0].arch}; {best.name} is the newest that has"
            )
        return best.products, tuple(notes)
    found = _named(name, word, releases)
    if found:
        return found, ()
    elsewhere = _named(name, word, _releases(everywhere))
    if elsewhere:
        raise NotFound(
            f"there is no image of {name} {elsewhere[0].release} for {here[0].arch}",
            f"the server has it for {', '.join(sorted({each.arch for each in elsewhere}))}",
            f"For {here[0].arch} there are: {_shown(releases)}.",
        )
    for key, reason in catalog.refused.items():
        if key.lower().startswith(f"{name}:{word}:"):
            raise Damaged(f"the server's entry of {name} {word} cannot be used", reason)
    words = [known for release in releases for known in _words(release)]
    near = difflib.get_close_matches(word[:64], words, 1, 0.7)
    hint = f"Did you mean {near[0]}?  " if near else ""
    raise NotFound(
        f"there is no release {word[:80]!r} of {name}", hint=f"{hint}There are: {_shown(releases)}."
    )


def _named(name: str, word: str, releases: Sequence[_Release]) -> tuple[Product, ...]:
    """By its name, alias or title; by what it is for; by the beginning of its number; by its variant."""
    for release in releases:
        if word == release.name.lower():
            return release.products
    aliased = [
        product
        for release in releases
        for product in release.products
        if word in (_fold(name, text) for text in (product.title, *product.aliases))
    ]
    if aliased:
        return tuple(product for product in aliased if product.release == aliased[0].release)
    ranked = sorted(releases, key=lambda each: each.rank, reverse=True)
    number = _number(word)
    if number:
        fitting = [each for each in ranked if each.number[: len(number)] == number]
    elif word in _PURPOSES:
        fitting = list(_for_purpose(name, word, ranked))
    else:
        fitting = [each for each in ranked if any(p.variant.lower() == word for p in each.products)]
        return tuple(p for p in fitting[0].products if p.variant.lower() == word) if fitting else ()
    return fitting[0].products if fitting else ()


def _for_purpose(name: str, word: str, ranked: Sequence[_Release]) -> Sequence[_Release]:
    settled = [each for each in ranked if each.stage >= _STABLE_STAGE]
    if word in ("testing", "devel"):
        return [each for each in ranked if each.stage == _MAKING]
    if word == "unstable":
        return [each for each in ranked if each.stage == _NEVER]
    if word == "rolling":
        return [each for each in ranked if each.stage == _NEVER or each.name == "current"]
    if word == "oldstable":
        return settled[1:]
    if word == "lts":
        return [each for each in settled if each.stage == _LONG_TERM]
    return settled if name == "opensuse" else []  # "leap"


def _variant(catalog: Catalog, name: str, products: Sequence[Product], variant: str) -> Product:
    if not variant:
        return _preferred(products)
    word = variant.strip().lower()
    for product in products:
        if product.variant.lower() == word:
            return product
    key = f"{name}:{products[0].release}:{products[0].arch}:{word}"
    for refused, reason in catalog.refused.items():
        if refused.lower() == key.lower():
            raise Damaged(f"the server's entry of {name} cannot be used", reason)
    raise NotFound(
        f"there is no variant {variant[:80]!r} of {name} {products[0].release}",
        hint=f"There are: {', '.join(sorted(product.variant for product in products))}.",
    )


def _passed_over(catalog: Catalog, product: Product, word: str, variant: str) -> tuple[str, ...]:
    """Entries that cannot be used and may be what was meant: of this release Damaged, of another a note."""
    notes = []
    for key, reason in catalog.refused.items():
        parts = key.split(":")
        if len(parts) != 4 or (parts[0].lower(), parts[2]) != (product.distribution, product.arch):
            continue
        if parts[1] == product.release:
            if not variant and _variant_name_rank(parts[3]) < _variant_rank(product):
                raise Damaged(f"the server's entry of {product.distribution} cannot be used", reason)
        elif word in _CURRENT and parts[3] == product.variant:
            notes.append(f"the server's entry of {parts[0]} {parts[1]} cannot be used: {reason}")
    return tuple(notes)


def _preferred(products: Sequence[Product]) -> Product:
    return min(products, key=_variant_rank)


def _variant_rank(product: Product) -> tuple[bool, int, str]:
    return _variant_name_rank(product.variant)


def _variant_name_rank(name: str) -> tuple[bool, int, str]:
    return name in _HIDDEN, _VARIANTS.index(name) if name in _VARIANTS else len(_VARIANTS), name


def _releases(products: Iterable[Product]) -> list[_Release]:
    """The releases of one distribution."""
    groups: dict[str, list[Product]] = {}
    for product in products:
        groups.setdefault(product.release, []).append(product)
    numbers = {name: _release_number(each) for name, each in groups.items()}
    newest = max((number for name, number in numbers.items() if name.lower() not in _MOVING), default=())
    return [
        _Release(
            name=name,
            stage=_stage(each, numbers[name], newest),
            number=numbers[name],
            products=tuple(each),
        )
        for name, each in groups.items()
    ]


def _stage(products: Sequence[Product], number: tuple[int, ...], newest: tuple[int, ...]) -> int:
    """newest: the highest number of the distribution in the index."""
    first = products[0]
    name, release = first.distribution, first.release.lower()
    if release in _MOVING:
        return _NEVER
    if name in _STABLE:
        if not number:
            return _NEVER
        return _STABLE_STAGE if number[0] <= _STABLE[name] or number < newest else _MAKING
    if name in _DATED:
        if len(number) < 2:
            return _NEVER
        year, month = number[:2]
        built = max(product.serial for product in products)[:6]
        if built <= f"{2000 + year:04}{month:02}":
            return _MAKING
        if year % 2 == 0 and month == _LONG.get(name):
            return _LONG_TERM
    return _STABLE_STAGE


def _release_number(products: Sequence[Product]) -> tuple[int, ...]:
    first = products[0]
    name, release = first.distribution, first.release.lower()
    for word in (release, *first.aliases, first.title):
        number = _number(_fold(name, word))
        if number:
            return number
    known = _NUMBERS.get(name, {}).get(release)
    return (known,) if known is not None else _DOTTED.get(name, {}).get(release, ())


def _number(word: str) -> tuple[int, ...]:
    """`3.22`, `p11`, `10-stream`, `24.04 lts` as numbers; () for what is none."""
    match = re.match(r"[pv]?([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})(?![0-9a-z.])", word.lower())
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _fold(name: str, release: str) -> str:
    """One spelling for `Stream9`, `stream-9`, `9-Stream`, `leap-15.6`, `Leap 15.6`."""
    word = release.strip().lower().replace(" ", "-")
    if len(word) > 64 or not word.isprintable() or set("/:\\") & set(word):
        raise UsageError(f"{release[:80]!r} is not a release", hint="Such as: trixie, 13, 24.04, current.")
    if name == "centos":
        stream = re.fullmatch(r"(?:stream-?)?([0-9]+)(?:-?stream)?", word)
        return f"{stream[1]}-stream" if stream else word
    if name == "opensuse":
        return re.sub(r"^leap[-_]?(?=[0-9])", "", word)
    return word


def _words(release: _Release) -> list[str]:
    aliases = [alias.lower() for product in release.products for alias in product.aliases]
    return [release.name.lower(), *dict.fromkeys(aliases)]


def _shown(releases: Sequence[_Release]) -> str:
    """The newest first: `trixie (13), bookworm (12)`."""
    texts = []
    for release in sorted(releases, key=lambda each: each.rank, reverse=True):
        dated = release.products[0].distribution in _DATED
        number = ".".join(f"{part:02}" if dated else str(part) for part in release.number)
        spelt = _number(release.name) or not number
        texts.append(release.name if spelt else f"{release.name} ({number})")
    more = len(texts) - _MOST_SHOWN
    return ", ".join(texts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
