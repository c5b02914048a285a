from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from nspawn.errors import Damaged, NotFound, UsageError
from nspawn.model.catalog import Catalog, Product, parse_products
from nspawn.model.machines import parse_machine
from nspawn.model.releases import choose, listing
from tests.support import imageshape

#: What is asked for, on arm64: the release and variant that are meant.
MEANT = (
    ("almalinux", "10", "default"),
    ("alma:9", "9", "default"),
    ("AlmaLinux:8", "8", "default"),
    ("alpine", "3.23", "default"),
    ("alpine:edge", "edge", "default"),
    ("alpine:3", "3.23", "default"),
    ("alpine:3.21", "3.21", "default"),
    ("alpine:latest", "3.23", "default"),
    ("alt", "p11", "default"),
    ("alt:sisyphus", "Sisyphus", "default"),
    ("alt:10", "p10", "default"),
    ("altlinux:p10", "p10", "default"),
    ("amazon", "2023", "default"),
    ("amazonlinux:2", "2", "default"),
    ("amazonlinux", "2023", "default"),
    ("arch", "current", "default"),
    ("archlinux", "current", "default"),
    ("archlinux:latest", "current", "default"),
    ("archlinux:rolling", "current", "default"),
    ("busybox", "1.36.1", "default"),
    ("busybox:1.36", "1.36.1", "default"),
    ("centos", "10-Stream", "default"),
    ("centos:9", "9-Stream", "default"),
    ("centos:9-stream", "9-Stream", "default"),
    ("centos:Stream9", "9-Stream", "default"),
    ("centos:stream10", "10-Stream", "default"),
    ("debian", "trixie", "default"),
    ("debian:stable", "trixie", "default"),
    ("debian:current", "trixie", "default"),
    ("debian:13", "trixie", "default"),
    ("debian:12", "bookworm", "default"),
    ("debian:11", "bullseye", "default"),
    ("Debian:Trixie", "trixie", "default"),
    ("debian:testing", "forky", "default"),
    ("debian:forky", "forky", "default"),
    ("debian:14", "forky", "default"),
    ("debian:oldstable", "bookworm", "default"),
    ("devuan", "excalibur", "default"),
    ("devuan:6", "excalibur", "default"),
    ("devuan:5", "daedalus", "default"),
    ("devuan:daedalus", "daedalus", "default"),
    ("fedora", "44", "default"),
    ("fedora:43", "43", "default"),
    ("gentoo", "current", "openrc"),
    ("gentoo:systemd", "current", "systemd"),
    ("gentoo:openrc", "current", "openrc"),
    ("kali", "current", "default"),
    ("kali:rolling", "current", "default"),
    ("nixos", "26.05", "default"),
    ("nixos:25", "25.11", "default"),
    ("nixos:unstable", "unstable", "default"),
    ("openeuler", "24.03", "default"),
    ("openeuler:25.09", "25.09", "default"),
    ("openeuler:22", "22.03", "default"),
    ("opensuse", "16.0", "default"),
    ("suse:leap", "16.0", "default"),
    ("opensuse:15", "15.6", "default"),
    ("opensuse:leap-15.6", "15.6", "default"),
    ("opensuse:tumbleweed", "tumbleweed", "default"),
    ("opensuse:rolling", "tumbleweed", "default"),
    ("openwrt", "24.10", "default"),
    ("openwrt:23", "23.05", "default"),
    ("openwrt:snapshot", "snapshot", "default"),
    ("oracle", "10", "default"),
    ("oraclelinux:9", "9", "default"),
    ("rocky", "10", "default"),
    ("rockylinux:9", "9", "default"),
    ("rocky:8", "8", "default"),
    ("ubuntu", "resolute", "default"),
    ("ubuntu:lts", "resolute", "default"),
    ("ubuntu:24", "noble", "default"),
    ("ubuntu:24.04", "noble", "default"),
    ("ubuntu:noble", "noble", "default"),
    ("ubuntu:22", "jammy", "default"),
    ("ubuntu:25", "questing", "default"),
    ("ubuntu:25.10", "questing", "default"),
    ("ubuntu:26.04", "resolute", "default"),
    ("void", "current", "default"),
    ("voidlinux", "current", "default"),
    ("voidlinux:musl", "current", "musl"),
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse_products([imageshape.public_bytes()])


def ask(catalog: Catalog, text: str, arch: str = "arm64", variant: str = "") -> tuple[str, str]:
    name, _, release = text.partition(":")
    product = choose(catalog, name, release, arch=arch, variant=variant).product
    assert product.arch == arch
    assert product.serial == imageshape.SERIALS[-1]
    return product.release, product.variant


@pytest.mark.parametrize(("text", "release", "variant"), MEANT, ids=[row[0] for row in MEANT])
def test_what_is_meant(catalog: Catalog, text: str, release: str, variant: str) -> None:
    assert ask(catalog, text) == (release, variant)


def test_every_distribution_is_in_the_table(catalog: Catalog) -> None:
    asked = {text.partition(":")[0].lower() for text, _, _ in MEANT}
    assert set(catalog.distributions()) <= asked
    assert set(catalog.distributions()) == set(imageshape.PUBLIC)


def test_all_of_it_can_be_had_by_its_own_name(catalog: Catalog) -> None:
    for product in catalog.products:
        chosen = choose(
            catalog, product.distribution, product.release, arch=product.arch, variant=product.variant
        )
        assert chosen.product == product
        assert chosen.notes == ()


def test_current_is_the_newest_that_has_the_architecture() -> None:
    shape = imageshape.public()
    for variant in ("default", "cloud"):
        del shape["products"][f"debian:trixie:armhf:{variant}"]
        del shape["products"][f"debian:forky:armhf:{variant}"]
    found = choose(parse_products([json.dumps(shape).encode()]), "debian", arch="armhf")
    assert found.product.release == "bookworm"
    assert found.notes == ("debian trixie has no image for armhf; bookworm is the newest that has",)


def small(*entries: tuple[str, str, str]) -> Catalog:
    """(key, word of an alias, serial) each."""
    made = {}
    for key, word, serial in entries:
        name = key.partition(":")[0]
        made[key] = imageshape.product(
            key,
            aliases=[f"{name}/{word}"] if word else [],
            serials={serial: imageshape.items("images/x", 5, "0" * 64)},
        )
    return parse_products([json.dumps(imageshape.products(made)).encode()])


def test_what_is_being_made_is_not_current() -> None:
    found = small(
        ("ubuntu:noble:arm64:default", "24.04", "20260301_07:42"),
        ("ubuntu:resolute:arm64:default", "26.04", "20260301_07:42"),
        ("ubuntu:questing:arm64:default", "25.10", "20260301_07:42"),
    )
    assert choose(found, "ubuntu", arch="arm64").product.release == "noble"
    assert choose(found, "ubuntu", "devel", arch="arm64").product.release == "resolute"
    assert choose(found, "ubuntu", "26", arch="arm64").product.release == "resolute"


def test_a_later_debian_is_stable_when_a_still_later_one_is_made() -> None:
    two = [("debian:forky:arm64:default", "14", "20280101_05:24")]
    assert choose(small(*two), "debian", arch="arm64").product.release == "forky"  # there is nothing else
    two.append(("debian:trixie:arm64:default", "", "20280101_05:24"))
    assert choose(small(*two), "debian", arch="arm64").product.release == "trixie"
    two.append(("debian:duke:arm64:default", "", "20280101_05:24"))
    assert choose(small(*two), "debian", arch="arm64").product.release == "forky"
    two.append(("debian:sid:arm64:default", "", "20280101_05:24"))
    assert choose(small(*two), "debian", arch="arm64").product.release == "forky"
    assert choose(small(*two), "debian", "unstable", arch="arm64").product.release == "sid"
    assert choose(small(*two), "debian", "testing", arch="arm64").product.release == "duke"


def test_code_names_need_no_alias() -> None:
    found = small(
        ("ubuntu:noble:arm64:default", "", "20261101_07:42"),
        ("ubuntu:jammy:arm64:default", "", "20261101_07:42"),
        ("ubuntu:mantic:arm64:default", "", "20261101_07:42"),
    )
    assert choose(found, "ubuntu", "22.04", arch="arm64").product.release == "jammy"
    assert choose(found, "ubuntu", arch="arm64").product.release == "noble"


@pytest.mark.parametrize(
    ("name", "release", "arch", "variant", "what", "hint"),
    [
        ("debiam", "", "arm64", "", "no distribution 'debiam'", "Did you mean debian"),
        ("rocy", "", "arm64", "", "no distribution", "rocky"),
        ("windows", "11", "arm64", "", "no distribution", "getroot --list"),
        ("debian", "tricksie", "arm64", "", "no release 'tricksie' of debian", "Did you mean trixie"),
        ("debian", "15", "arm64", "", "no release '15'", "trixie (13), bookworm (12)"),
        ("debian", "1", "arm64", "", "no release '1'", "trixie (13)"),
        ("ubuntu", "23.04", "arm64", "", "no release '23.04'", "resolute (26.04), noble (24.04)"),
        ("alpine", "3.2", "arm64", "", "no release '3.2'", "3.23"),
        ("archlinux", "", "riscv64", "", "no image of archlinux for riscv64", "-a ARCH"),
        ("debian", "bookworm", "riscv64", "", "no image of debian bookworm for riscv64", "trixie (13)"),
        ("debian", "", "arm64", "desktop", "no variant 'desktop' of debian trixie", "cloud, default"),
        ("debian", "lts", "arm64", "", "no release 'lts'", "trixie"),
        ("debian", "x\x1b[2J", "arm64", "", "", "Such as"),
        ("debian", "../../etc", "arm64", "", "is not a release", "Such as"),
        ("debian", "9" * 70, "arm64", "", "is not a release", "Such as"),
        ("x" * 300, "", "arm64", "", "no distribution", "getroot --list"),
    ],
)
def test_what_there_is_not(
    catalog: Catalog, name: str, release: str, arch: str, variant: str, what: str, hint: str
) -> None:
    with pytest.raises((NotFound, UsageError)) as caught:
        choose(catalog, name, release, arch=arch, variant=variant)
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert len(caught.value.what) < 200


def test_a_broken_entry_is_told_to_who_asks_for_it() -> None:
    shape = imageshape.public()
    for key, entry in shape["products"].items():
        if key.startswith(("kali:", "debian:12:")) or key == "debian:trixie:arm64:cloud":
            entry["versions"]["20261123_05:24"]["items"]["root.tar.xz"]["sha256"] = "beef"
    catalog = parse_products([json.dumps(shape).encode()])
    assert ask(catalog, "debian") == ("trixie", "default")
    with pytest.raises(Damaged, match=r"kali:current:a.*sha256: expected 64 hex digits, got 'beef'"):
        choose(catalog, "kali", arch="arm64")
    with pytest.raises(Damaged, match="sha256"):
        choose(catalog, "debian", arch="arm64", variant="cloud")


def test_a_broken_entry_is_not_replaced_in_silence() -> None:
    shape = imageshape.public()
    entry = shape["products"]["debian:trixie:arm64:default"]
    entry["versions"]["20261123_05:24"]["items"]["root.tar.xz"]["path"] = "../x"
    catalog = parse_products([json.dumps(shape).encode()])
    for release in ("", "13", "trixie"):
        with pytest.raises(Damaged, match="expected a path below"):
            choose(catalog, "debian", release, arch="arm64")
    assert ask(catalog, "debian", variant="cloud") == ("trixie", "cloud")
    assert ask(catalog, "debian:12") == ("bookworm", "default")

    shape["products"]["debian:trixie:arm64:cloud"]["arch"] = 5
    found = choose(parse_products([json.dumps(shape).encode()]), "debian", arch="arm64")
    assert found.product.release == "bookworm"
    assert any("debian trixie cannot be used" in note for note in found.notes)


def test_the_list(catalog: Catalog) -> None:
    rows = listing(catalog, "arm64")
    assert not [product.key for product, _ in rows if product.variant in ("cloud", "tinycloud")]
    firsts = {product.distribution: product for product, first in rows if first}
    assert set(firsts) == set(imageshape.PUBLIC)
    for name, product in firsts.items():
        assert choose(catalog, name, arch="arm64").product == product
    debian = [(product.release, first) for product, first in listing(catalog, "arm64", "debian")]
    assert debian == [("trixie", True), ("bookworm", False), ("bullseye", False), ("forky", False)]
    assert {product.distribution for product, _ in listing(catalog, "arm64", "SUSE")} == {"opensuse"}
    assert {product.distribution for product, _ in listing(catalog, "arm64", "arch")} == {"archlinux"}
    assert listing(catalog, "arm64", "nothing") == ()
    assert listing(catalog, "mips") == ()
    hidden = listing(catalog, "arm64", "debian", hidden=True)
    assert [product.variant for product, _ in hidden[:2]] == ["default", "cloud"]


class Walked(tuple[Product, ...]):  # noqa: SLOT001  (it counts in itself)
    """Counts how often it is gone through."""

    times = 0

    def __iter__(self) -> Iterator[Product]:
        self.times += 1
        return super().__iter__()


def test_the_list_is_made_in_one_pass(catalog: Catalog) -> None:
    products = Walked(catalog.products)
    assert listing(replace(catalog, products=products), "arm64") == listing(catalog, "arm64")
    assert products.times == 1


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("x86_64", "amd64"),
        ("aarch64", "arm64"),
        ("ARM64", "arm64"),
        ("armv7l", "armhf"),
        ("armv8l", "armhf"),
        ("i686", "i386"),
        ("ppc64le", "ppc64el"),
        ("riscv64", "riscv64"),
        ("loongarch64", "loong64"),
        ("sparc64", "sparc64"),
    ],
)
def test_architectures(word: str, name: str) -> None:
    assert parse_machine(word) == name


@pytest.mark.parametrize("word", ["", "../x", "a b", "x" * 40, "é"])
def test_no_architectures(word: str) -> None:
    with pytest.raises(UsageError, match="is not an architecture"):
        parse_machine(word)
