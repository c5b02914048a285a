"""Containers from images, on the page: chosen, fetched, running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE, SCREENS, Site, Visit
from tests.browser.test_page import check
from tests.support.imagefiles import rootfs_xz
from tests.support.imagesite import Site as ImageSite
from tests.support.imagesite import serve
from tests.support.program import Program

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)

#: As the public server's: what a person scrolls through.
DISTRIBUTIONS = (
    ("almalinux", "10", ""),
    ("alpine", "3.22", ""),
    ("archlinux", "current", ""),
    ("debian", "trixie", "13"),
    ("debian", "bookworm", "12"),
    ("fedora", "43", ""),
    ("kali", "current", ""),
    ("opensuse", "tumbleweed", ""),
    ("ubuntu", "noble", "24.04"),
    ("voidlinux", "current", ""),
)


@pytest.fixture
def images(tmp_path: Path, busybox_base: Path) -> Iterator[ImageSite]:
    with serve(tmp_path / "images") as found:
        small, big = (rootfs_xz(busybox_base, extra=size) for size in (0, 4 << 20))
        for name, release, alias in DISTRIBUTIONS:
            found.add(name, release, big if release == "trixie" else small, alias=alias)
        yield found


@pytest.fixture
def site(nspawn: Program, images: ImageSite) -> Iterator[Site]:
    """Its program knows the server of the test."""
    nspawn.environment["NSPAWN_IMAGE_SERVER"] = images.address
    found = Site(nspawn)
    try:
        found.start()
        yield found
    finally:
        found.daemon.end()


def test_a_distribution_is_chosen_fetched_and_runs(visit: Visit, images: ImageSite) -> None:
    page = visit.page
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("web")
    page.get_by_role("radio", name="Distribution").check()
    offers = page.get_by_role("radiogroup", name="Distributions")
    expect(offers.get_by_role("radio")).to_have_count(len({name for name, _, _ in DISTRIBUTIONS}))
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Choose a distribution.")).to_be_visible()
    page.get_by_label("Distribution", exact=True).fill("deb 13")
    expect(offers.get_by_role("radio")).to_have_count(1)
    offers.get_by_role("radio", name="Debian trixie").check()
    expect(page.get_by_label("Release")).to_have_value("debian:trixie")
    check(visit, "distribution")
    images.pause = 0.02
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("progressbar", name="Progress of web")).to_be_visible()
    expect(page.get_by_text("MiB/s")).to_be_visible()
    check(visit, "fetching")
    page.get_by_role("button", name="Show the password").click()
    password = page.get_by_label("Password of root").input_value()
    assert len(password) >= 12
    page.get_by_role("link", name="Show web").click()
    expect(page.get_by_role("heading", name="web")).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("the init has begun")
    settings = visit.site.daemon.info("web")["settings"]
    assert (settings["image"], settings["boot"]) == ("debian:trixie", True)
    page.reload()
    expect(page.get_by_role("heading", name="web")).to_be_visible()
    assert password not in page.content()


def test_a_download_can_be_cancelled(visit: Visit, images: ImageSite) -> None:
    page = visit.page
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("web")
    page.get_by_role("radio", name="Distribution").check()
    page.get_by_role("radio", name="Debian trixie").check()
    page.get_by_label("Password of root").select_option("own")
    page.get_by_label("Your password").fill("open sesame")
    page.locator("summary", has_text="SSH keys").click()
    check(visit, "distribution-more")
    images.pause = 0.2
    page.get_by_role("button", name="Create").click()
    page.get_by_role("button", name="Cancel the work on web").click()
    expect(page.get_by_role("button", name="Create")).to_be_visible()
    expect(page.get_by_label("Release")).to_have_value("debian:trixie")
    assert visit.site.nspawn.json("list", "--json") == []
    assert not list((visit.site.nspawn.root / "containers").iterdir())


def test_what_is_wrong_is_told(visit: Visit, images: ImageSite) -> None:
    page = visit.page
    visit.expected.update(("502", "400"))
    index = images.folder / "streams/v1/images.json"
    whole = index.read_bytes()
    index.write_bytes(b"\0" * len(whole))
    visit.expected.add("422")
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("web")
    page.get_by_role("radio", name="Distribution").check()
    expect(page.get_by_role("alert")).to_contain_text("list of images cannot be used")
    check(visit, "no-catalog")
    index.write_bytes(whole)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("radio", name="Debian trixie")).to_be_visible()
    page.get_by_role("radio", name="Registry image").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Name an image.")).to_be_visible()
    page.get_by_label("Image", exact=True).fill("UPPER")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("written small")
    check(visit, "registry")


@pytest.mark.parametrize("visit", SCREENS[:1], indirect=True, ids=lambda screen: screen.name)
def test_kept_images_are_looked_at_and_removed(visit: Visit) -> None:
    page, nspawn = visit.page, visit.site.nspawn
    visit.log_in()
    visit.open("/#/host")
    page.get_by_role("link", name="Kept images").click()
    expect(page.get_by_text("No image is kept")).to_be_visible()
    check(visit, "images-none")
    for name, image in (("web", "alpine:3.22"), ("db", "debian:13")):
        nspawn.ok("create", name, "--image", image, "--keep")
    page.reload()
    row = page.get_by_role("listitem").filter(has_text="debian:trixie")
    expect(row).to_contain_text("used by db")
    blobs = sorted((nspawn.root / "images").rglob("sha256/*"), key=lambda path: path.stat().st_size)
    blobs[-1].write_bytes(b"\0" * blobs[-1].stat().st_size)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("One file is damaged.")).to_be_visible()
    check(visit, "images")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("Everything is as it was fetched.")).to_be_visible()
    page.get_by_role("button", name="Clean up").click()
    expect(page.get_by_text("There was nothing to clean up.")).to_be_visible()
    page.get_by_role("button", name="Remove all").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove all").click()
    expect(page.get_by_text("No image is kept")).to_be_visible()
    assert nspawn.json("image", "list", "--json") == []
