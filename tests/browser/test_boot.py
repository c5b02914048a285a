"""The whole way: a Debian container, marked for autostart, started by `nspawn boot`, seen on the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.support import systemd
from tests.support.rootfs import layered

pytestmark = [pytest.mark.browser, pytest.mark.root, pytest.mark.slow]


def test_a_debian_started_by_boot_is_on_the_page(visit: Visit, systemd_base: Path, tmp_path: Path) -> None:
    nspawn, page = visit.site.nspawn, visit.page
    with layered(systemd_base, tmp_path / "debian") as rootfs:
        nspawn.ok("create", "debian", "--rootfs", str(rootfs), "--boot", "--autostart")
        visit.log_in()
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible()

        nspawn.ok("boot")

        expect(page.get_by_text("Running", exact=True)).to_be_visible()
        pid = visit.site.daemon.state("debian")["pid"]
        assert systemd.settled(pid) == "running", systemd.unexplained(pid)
        page.get_by_role("link", name="debian").click()
        expect(page.get_by_role("log")).to_contain_text("Multi-User System")
        visit.shoot("debian")

        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
        assert visit.site.daemon.state("debian")["exit"] == "stopped"  # in order, not killed
    assert not visit.wrong
