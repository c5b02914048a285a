"""What an image server offers: its simplestreams documents, checked, as values.

facts/web.md, "The image server".  Nothing in the documents is trusted: all sizes are limited, and what is not
as it should be is named by its path in the document.  A product that is wrong is left out, with the reason
kept for whoever asks for it; a document that is wrong as a whole is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nspawn.errors import Damaged
from nspawn.model import jsontext

#: Bytes of streams/v1/index.json, and of a document of products (the public server's has about 2 MiB).
LARGEST_INDEX = 1 << 20
LARGEST_PRODUCTS = 8 << 20
#: The public server's have less than a fifth of that.
_MOST_VALUES = 500_000
_MOST_DOCUMENTS = 4
#: Of all documents together.
_MOST_PRODUCTS = 20_000
_MOST_VERSIONS = 1_000
_MOST_ITEMS = 200
_LARGEST_IMAGE = 1 << 40
#: The one item that we can unpack, and that is the whole root file system.
ROOT = "root.tar.xz"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_SERIAL = re.compile(r"[0-9]{8}[0-9A-Za-z._:+-]{0,24}")
_PART = re.compile(r"[A-Za-z0-9._:+~@=,-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Item:
    """An archive.  path: below the server's root, safe; size: bytes; sha256: 64 hex digits."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Product:
    """What is built again and again under one name.

    distribution, release, arch, variant: the parts of the name, the first in small letters.
    aliases: release words other than its own, such as "13".  serial: of the newest version.
    """

    distribution: str
    release: str
    arch: str
    variant: str
    serial: str
    item: Item
    title: str = ""
    os: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.distribution}:{self.release}:{self.arch}:{self.variant}"

    @property
    def date(self) -> str:
        """`2026-11-23`: when it was built."""
        return f"{self.serial[:4]}-{self.serial[4:6]}-{self.serial[6:8]}"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """refused: products that are not as they should be, the reason by their key."""

    products: tuple[Product, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def distributions(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted({product.distribution for product in self.products}))


def parse_index(data: bytes) -> tuple[str, ...]:
    """The paths of the documents that list images, from streams/v1/index.json; Damaged otherwise."""
    document = _document(data, LARGEST_INDEX, "the server's index")
    try:
        entries = _mapping(document.get("index"), "index")
        paths = []
        for name, value in entries.items():
            entry = _mapping(value, f"index[{_show(name)}]")
            if entry.get("datatype") == "image-downloads":
                paths.append(_path(entry.get("path"), f"index[{_show(name)}].path"))
    except _WrongError as error:
        raise Damaged("the server's index cannot be used", str(error)) from None
    if not paths:
        raise Damaged("the server's index cannot be used", "index: it names no list of images")
    return tuple(dict.fromkeys(paths))[:_MOST_DOCUMENTS]


def parse_products(documents: Iterable[bytes]) -> Catalog:
    """The images of the documents that the index names; Damaged when one is wrong as a whole."""
    products: dict[str, Product] = {}
    refused: dict[str, str] = {}
    count = 0
    for data in documents:
        document = _document(data, LARGEST_PRODUCTS, "the server's list of images")
        try:
            listed = _mapping(document.get("products"), "products", most=_MOST_PRODUCTS - count)
        except _WrongError as error:
            raise Damaged("the server's list of images cannot be used", str(error)) from None
        count += len(listed)
        for key, value in listed.items():
            try:
                product = _product(key, value)
            except _WrongError as error:
                refused[key[:200]] = str(error)
            else:
                products.setdefault(product.key, product)
    if not products:
        reason = next(iter(refused.values()), "products: there is none")
        raise Damaged("the server's list of images cannot be used", reason)
    return Catalog(products=tuple(products.values()), refused=refused)


class _WrongError(Exception):
    """The text says where, and what was expected."""


def _document(data: bytes, largest: int, what: str) -> Mapping[str, object]:
    try:
        value = jsontext.parse(data, largest=largest, most=_MOST_VALUES)
    except jsontext.JsonError as error:
        reason = str(error) if data.strip(b"\0") else "it holds nothing"
        raise Damaged(f"{what} cannot be used", reason, "Is this the address of an image server?") from None
    if not isinstance(value, dict):
        raise Damaged(f"{what} cannot be used", f"expected an object, got {_show(value)}")
    return value


def _product(key: str, value: object) -> Product:
    at = f"products[{_show(key)}]"
    parts = key.split(":")
    if len(parts) != 4 or not all(_NAME.fullmatch(part) for part in parts):
        raise _WrongError(f"{at}: expected a key such as 'debian:trixie:arm64:default'")
    entry = _mapping(value, at)
    distribution, release, arch, variant = parts
    if _text(entry.get("arch", arch), f"{at}.arch") != arch:
        raise _WrongError(f"{at}.arch: expected {arch!r} as in the key, got {_show(entry['arch'])}")
    versions = _mapping(entry.get("versions"), f"{at}.versions", most=_MOST_VERSIONS)
    serial, item = _newest(versions, f"{at}.versions")
    return Product(
        distribution=distribution.lower(),
        release=release,
        arch=arch,
        variant=variant,
        serial=serial,
        item=item,
        title=_text(entry.get("release_title", ""), f"{at}.release_title"),
        os=_text(entry.get("os", ""), f"{at}.os"),
        aliases=_aliases(entry.get("aliases", ""), f"{at}.aliases", distribution, release),
    )


def _newest(versions: Mapping[str, object], at: str) -> tuple[str, Item]:
    """The newest version that has the archive: one that is being published may lack it still."""
    for serial in versions:
        if not _SERIAL.fullmatch(serial):
            raise _WrongError(f"{at}[{_show(serial)}]: expected a time such as '20261123_05:24'")
    for serial in sorted(versions, key=_order, reverse=True):
        here = f"{at}[{_show(serial)}]"
        version = _mapping(versions[serial], here)
        items = _mapping(version.get("items"), f"{here}.items", most=_MOST_ITEMS)
        for name, value in items.items():
            entry = _mapping(value, f"{here}.items[{_show(name)}]")
            if entry.get("ftype") == ROOT:
                return serial, _item(entry, f"{here}.items[{_show(name)}]")
    raise _WrongError(f"{at}: expected a version with {ROOT}")


def _order(serial: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"[0-9]+", serial))


def _item(entry: Mapping[str, object], at: str) -> Item:
    size, sha256 = entry.get("size"), entry.get("sha256")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _LARGEST_IMAGE:
        raise _WrongError(f"{at}.size: expected bytes from 1 to {_LARGEST_IMAGE}, got {_show(size)}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
        raise _WrongError(f"{at}.sha256: expected 64 hex digits, got {_show(sha256)}")
    return Item(path=_path(entry.get("path"), f"{at}.path"), size=size, sha256=sha256.lower())


def _path(value: object, at: str) -> str:
    """A path below the server's root: no `..`, no scheme, no host, nothing that needs quoting."""
    if isinstance(value, str) and 0 < len(value) <= 512:
        parts = value.split("/")
        if (
            all(_PART.fullmatch(part) for part in parts)
            and not {".", ".."}.intersection(parts)
            and ":" not in parts[0]
        ):
            return value
    raise _WrongError(f"{at}: expected a path below the server's root, got {_show(value)}")


def _aliases(value: object, at: str, distribution: str, release: str) -> tuple[str, ...]:
    """The release words of `debian/13,debian/13/default,...`."""
    text = value if isinstance(value, str) else None
    if text is None or len(text) > 4096:
        raise _WrongError(f"{at}: expected words with commas between them, got {_show(value)}")
    words: dict[str, None] = {}
    for alias in text.split(","):
        parts = alias.strip().split("/")
        if len(parts) > 1 and parts[0].lower() == distribution.lower() and _NAME.fullmatch(parts[1]):
            words[parts[1]] = None
    words.pop(release, None)
    return tuple(words)


def _mapping(value: object, at: str, most: int = 1_000) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _WrongError(f"{at}: expected an object, got {_show(value)}")
    if len(value) > most:
        raise _WrongError(f"{at}: expected at most {most} members, got {len(value)}")
    return value


def _text(value: object, at: str) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise _WrongError(f"{at}: expected a short text, got {_show(value)}")
    return value


def _show(value: object) -> str:
    if value is None:
        return "nothing"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
