from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nspawn.errors import Damaged
from nspawn.model.catalog import LARGEST_INDEX, LARGEST_PRODUCTS, parse_index, parse_products
from tests.support import imageshape

KEY = "debian:trixie:arm64:default"
SERIAL = "20261123_05:24"


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def one() -> dict[str, Any]:
    return imageshape.products({KEY: imageshape.public()["products"][KEY]})


def test_the_newest_version_counts() -> None:
    product = parse_products([dump(one())]).products[0]
    assert product.key == KEY
    assert (product.serial, product.date) == (SERIAL, "2026-11-23")
    assert product.item.path == f"images/debian/trixie/arm64/default/{SERIAL}/rootfs.tar.xz"
    assert product.item.sha256 in dump(one()).decode()
    assert product.aliases == ("13",)
    assert (product.os, product.title) == ("Debian", "trixie")


def test_a_version_that_is_being_published_is_passed_over() -> None:
    shape = one()
    del shape["products"][KEY]["versions"][SERIAL]["items"]["root.tar.xz"]
    assert parse_products([dump(shape)]).products[0].serial == "20261122_05:24"


def test_serials_are_ordered_as_times() -> None:
    shape = one()
    versions = shape["products"][KEY]["versions"]
    for serial in ("20261123_13:05", "20261123_9:05"):
        versions[serial] = versions[SERIAL]
    assert parse_products([dump(shape)]).products[0].serial == "20261123_13:05"


def test_several_documents_are_one_list() -> None:
    other = imageshape.products(
        {"own:1:arm64:default": imageshape.product("own:1:arm64:default", serials={SERIAL: _items()})}
    )
    assert parse_products([dump(one()), dump(other)]).distributions() == ("debian", "own")


def _items() -> dict[str, Any]:
    return imageshape.items("images/x", 5, "0" * 64)


def _root(change: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(product: dict[str, Any]) -> None:
        product["versions"][SERIAL]["items"]["root.tar.xz"][change] = value

    return apply


def _set(change: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(product: dict[str, Any]) -> None:
        product[change] = value

    return apply


ITEM = f"products['{KEY}'].versions['{SERIAL}'].items['root.tar.xz']"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_root("path", "../../etc/shadow"), f"{ITEM}.path: expected a path below"),
        (_root("path", "/etc/shadow"), f"{ITEM}.path: "),
        (_root("path", "images/../../x"), f"{ITEM}.path: "),
        (_root("path", "images/./x"), f"{ITEM}.path: "),
        (_root("path", "//evil.example/x"), f"{ITEM}.path: "),
        (_root("path", "https://evil.example/x"), f"{ITEM}.path: "),
        (_root("path", "file:x/y"), f"{ITEM}.path: "),
        (_root("path", "images/%2e%2e/x"), f"{ITEM}.path: "),
        (_root("path", "images\\..\\x"), f"{ITEM}.path: "),
        (_root("path", "images/x?y"), f"{ITEM}.path: "),
        (_root("path", "images/x#y"), f"{ITEM}.path: "),
        (_root("path", "images/x\n"), f"{ITEM}.path: "),
        (_root("path", "images/ü"), f"{ITEM}.path: "),
        (_root("path", "a/" * 400 + "b"), f"{ITEM}.path: "),
        (_root("path", ""), f"{ITEM}.path: "),
        (_root("path", None), f"{ITEM}.path: expected a path below the server's root, got nothing"),
        (_root("path", 5), f"{ITEM}.path: "),
        (_root("size", -1), f"{ITEM}.size: expected bytes"),
        (_root("size", 0), f"{ITEM}.size: "),
        (_root("size", True), f"{ITEM}.size: "),
        (_root("size", 1.5), f"{ITEM}.size: "),
        (_root("size", "5"), f"{ITEM}.size: "),
        (_root("size", 10**30), f"{ITEM}.size: "),
        (_root("sha256", "0" * 63), f"{ITEM}.sha256: expected 64 hex digits"),
        (_root("sha256", "g" * 64), f"{ITEM}.sha256: "),
        (_root("sha256", None), f"{ITEM}.sha256: "),
        (_root("ftype", "disk.qcow2"), "never"),
        (_set("arch", "amd64"), f"products['{KEY}'].arch: expected 'arm64' as in the key"),
        (_set("aliases", ["debian/13"]), f"products['{KEY}'].aliases: expected words"),
        (_set("os", {"a": 1}), f"products['{KEY}'].os: expected a short text"),
        (_set("release_title", "\x1b[2J"), f"products['{KEY}'].release_title: "),
        (_set("versions", []), f"products['{KEY}'].versions: expected an object"),
        (_set("versions", {}), f"products['{KEY}'].versions: expected a version with root.tar.xz"),
        (_set("versions", {"now": {}}), f"products['{KEY}'].versions['now']: expected a time"),
        (_set("versions", {SERIAL: 5}), f"products['{KEY}'].versions['{SERIAL}']: expected an object"),
        (_set("versions", {SERIAL: {}}), f"products['{KEY}'].versions['{SERIAL}'].items: expected"),
        (_set("versions", {SERIAL: {"items": {"x": 1}}}), ".items['x']: expected an object, got 1"),
        (_set("versions", {f"{20000000 + n}": {} for n in range(1001)}), "expected at most 1000 members"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(change: Callable[[dict[str, Any]], None], says: str) -> None:
    shape = one()
    change(shape["products"][KEY])
    if says == "never":
        assert parse_products([dump(shape)]).products[0].serial != SERIAL
        return
    with pytest.raises(Damaged) as caught:
        parse_products([dump(shape)])
    assert says in caught.value.why
    assert caught.value.why.isprintable()
    assert len(caught.value.why) < 400

    beside = one()
    beside["products"][KEY] = shape["products"][KEY]
    beside["products"]["own:1:arm64:default"] = imageshape.product(
        "own:1:arm64:default", serials={SERIAL: _items()}
    )
    catalog = parse_products([dump(beside)])
    assert catalog.distributions() == ("own",)
    assert says in catalog.refused[KEY]


@pytest.mark.parametrize(
    "key", ["debian", "debian:trixie:arm64", "../x:1:arm64:default", "a:b:c:d:e", "a:b b:arm64:d", "::: "]
)
def test_keys(key: str) -> None:
    shape = imageshape.products({key: one()["products"][KEY]})
    with pytest.raises(Damaged, match="expected a key such as 'debian:trixie:arm64:default'"):
        parse_products([dump(shape)])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it holds nothing"),
        (bytes(5000), "it holds nothing"),
        (b"<html>", "it is not JSON"),
        (b'{"products": ', "it is not JSON"),
        (dump(one())[:-40], "it is not JSON"),
        (b'{"products": NaN}', "NaN is no number"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b'{"products": [' + b"[]," * 1_000_000 + b"[]]}", "it has more than 500000 values"),
        (b'{"products": ' + b"9" * 10_000 + b"}", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "expected an object, got []"),
        (b"{}", "products: expected an object, got nothing"),
        (b'{"products": []}', "products: expected an object"),
        (b'{"products": {}}', "products: there is none"),
        (b" " * (LARGEST_PRODUCTS + 1), "it has more than"),
        (dump({"products": {str(n): 0 for n in range(20_001)}}), "expected at most 20000 members"),
    ],
)
def test_no_list_of_images(data: bytes, says: str) -> None:
    with pytest.raises(Damaged) as caught:
        parse_products([data])
    assert says in caught.value.why


def test_the_most_products_are_of_all_documents_together() -> None:
    one_half = dump({"products": {str(number): 0 for number in range(10_001)}})
    with pytest.raises(Damaged, match="expected at most 9999 members, got 10001"):
        parse_products([one_half, one_half])


def test_the_index() -> None:
    assert parse_index(dump(imageshape.index())) == ("streams/v1/images.json",)
    shape = imageshape.index(["streams/v1/a.json", "b.json"])
    shape["index"]["auto"] = {"datatype": "image-ids", "path": "../never"}
    assert parse_index(dump(shape)) == ("streams/v1/a.json", "b.json")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes(100), "it holds nothing"),
        (b"{}", "index: expected an object, got nothing"),
        (b'{"index": {}}', "index: it names no list of images"),
        (b'{"index": {"images": 5}}', "index['images']: expected an object, got 5"),
        (dump(imageshape.index(["../images.json"])), "index['images'].path: expected a path below"),
        (dump(imageshape.index(["https://evil.example/images.json"])), "index['images'].path: "),
        (b" " * (LARGEST_INDEX + 1), "it has more than"),
        (b'{"index": [' + b"1," * 500_001 + b"1]}", "it has more than 500000 values"),
    ],
)
def test_no_index(data: bytes, says: str) -> None:
    with pytest.raises(Damaged) as caught:
        parse_index(data)
    assert says in caught.value.why


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    value=JSON,
    place=st.lists(
        st.sampled_from(
            ["products", KEY, "versions", SERIAL, "items", "root.tar.xz", "aliases", "arch", "path"]
        ),
        max_size=7,
    ),
)
def test_anything_is_taken_or_refused(value: object, place: list[str]) -> None:
    shape: Any = one()
    at = shape
    for word in place[:-1]:
        if not isinstance(at.get(word), dict):
            break
        at = at[word]
    if place:
        at[place[-1]] = value
    try:
        catalog = parse_products([dump(shape)])
    except Damaged:
        return
    assert catalog.products
    assert all(".." not in product.item.path.split("/") for product in catalog.products)
