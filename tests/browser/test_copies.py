"""Copies of a container on the page: a clone, an archive as a download and as a file, and back again."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE, SCREENS, Visit
from tests.browser.test_page import check, create

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)


@pytest.mark.parametrize("visit", SCREENS[:1], indirect=True, ids=lambda screen: screen.name)
def test_a_container_is_copied_exported_and_imported(visit: Visit, tmp_path: Path) -> None:
    page, nspawn, daemon = visit.page, visit.site.nspawn, visit.site.daemon
    visit.log_in()
    create(visit, "web")
    daemon.set("web", autostart__enabled="true")
    nspawn.ok("exec", "web", "--", "sh", "-c", "echo mine > /root/mine")
    expect(page.get_by_text("While the copy is made, the container is frozen")).to_be_visible()

    page.get_by_text("Clone: a copy beside it").click()
    page.get_by_label("Name of the copy").fill("web")
    page.get_by_role("button", name="Make the copy").click()
    expect(page.get_by_text("There is a container web already")).to_be_visible()

    page.get_by_text("Write the archive into a file").click()
    target = page.get_by_label("File on the machine")
    target.fill("web.tar")
    page.get_by_role("button", name="Write the archive").click()
    expect(page.get_by_text("an absolute path is expected")).to_be_visible()
    visit.expected.add("400")
    target.fill(str(tmp_path / "web.tar"))
    page.get_by_role("button", name="Write the archive").click()
    expect(page.get_by_text("web.tar is written")).to_be_visible()
    with tarfile.open(tmp_path / "web.tar") as written:
        assert written.getnames()[0] == ".nspawn-export"
    check(visit, "copies")

    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as an archive").click()
    archive = tmp_path / saved.value.suggested_filename
    saved.value.save_as(archive)
    expect(page.get_by_text("is in your downloads")).to_be_visible()
    assert daemon.state("web")["state"] == "running"

    page.get_by_label("Name of the copy").fill("twin")
    page.get_by_role("button", name="Make the copy").click()
    expect(page.get_by_role("heading", name="twin")).to_be_visible()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()

    visit.open("/#/new")
    page.get_by_role("radio", name="Archive of a container").check()
    page.set_input_files("#file", archive)
    expect(page.get_by_label("Name", exact=True)).to_have_value("web")
    page.get_by_label("Name", exact=True).fill("back")
    check(visit, "import")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("The start with the machine was left out")).to_be_visible()
    check(visit, "imported")
    page.get_by_role("link", name="Show back").click()
    daemon.becomes("back", "running")
    assert nspawn.ok("exec", "back", "--", "cat", "/root/mine").out == "mine\n"
    assert daemon.state("twin")["state"] == "stopped"
