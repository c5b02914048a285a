"""What the page shows on a phone: the crash guard, boot settings, readings.

The server is the real one; where a phone would be needed (a crash, a battery), its answer is made up here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Error, Route, expect

from tests.browser.conftest import PATIENCE, Visit
from tests.browser.test_page import check
from tests.support.server import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)

CALM: dict[str, Any] = {
    "active": True,
    "blocked": False,
    "safe_mode": False,
    "failed_boots": 0,
    "trip": None,
    "never": [],
    "features": ["uts", "ipc", "cgroup", "time", "net", "pid"],
    "problem": "",
    "pstore": [],
}
KERNEL = "\n".join(
    [
        *(f"<6>[  {20 + n}.{n:06}] binder: {900 + n}:{900 + n} transaction" for n in range(40)),
        "<1>[  61.204110] Unable to handle kernel NULL pointer dereference at 0000000000000010",
        "<0>[  61.204377] pc : copy_pid_ns+0x1c4/0x3a8",
        "<0>[  61.204801] Kernel panic - not syncing: Oops: Fatal exception",
    ]
)
TRIPPED = CALM | {
    "blocked": True,
    "failed_boots": 1,
    "trip": {
        "step": "namespace",
        "container": "debian",
        "feature": "pid",
        "kernel": "6.6.30-android15-8",
        "when": 1790000000,
        "text": "",
    },
    "pstore": [{"name": "console-ramoops-0", "text": KERNEL}],
}
SAFE = TRIPPED | {"safe_mode": True, "failed_boots": 3, "never": ["ipc"]}
POWER = {
    "battery": {"capacity": 71, "celsius": 41.5, "status": "Charging", "health": "Good", "plugged": True},
    "thermal": [
        {"name": "cpu-1-2", "celsius": 63.4},
        {"name": "skin", "celsius": 38.1},
        {"name": "modem", "celsius": 44.0},
    ],
    "rules": {"freeze_above": 45.0, "thaw_below": 42.0, "freeze_below_charge": 15, "thaw_above_charge": 20},
}
DEVICE = {
    "android": True,
    "model": "Maker Phone 9 Pro",
    "soc": "QTI SM8650",
    "release": "15",
    "sdk": "35",
    "patch": "2026-09-05",
    "manager": "KernelSU",
    "manager_version": "3.2.5",
    "selinux": "enforcing",
    "context": "u:r:su:s0",
    "seccomp": "none",
    "termux": False,
    "programs": {
        "toybox": "toybox 0.8.11-android",
        "busybox": "BusyBox v1.36.1",
        "ip": "ip utility, iproute2-5.9.0",
        "iptables": "iptables v1.8.10 (legacy)",
    },
}


class Phone:
    """Answers in the place of a phone's server, on top of the real ones."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.guard = CALM
        self.decisions: list[Any] = []
        visit.page.route("**/api/v1/guard", self._guard)
        visit.page.route("**/api/v1/host/readings", self._changed(self._readings))
        visit.page.route("**/api/v1/host", self._changed(self._host))

    def _guard(self, route: Route) -> None:
        if route.request.method == "POST":
            body = json.loads(route.request.post_data or "")
            self.decisions.append(body)
            if body["action"] == "allow":
                self.guard = self.guard | {"never": []}
            elif body["action"] == "never":
                self.guard = CALM | {"never": [body["feature"]]}
            else:
                self.guard = CALM
        route.fulfill(json=self.guard)

    def _changed(self, change: Callable[[dict[str, Any]], None]) -> Callable[[Route], None]:
        def answer(route: Route) -> None:
            try:
                real = route.fetch()
                found = real.json()
            except Error:
                return  # the test has ended
            change(found)
            route.fulfill(status=real.status, json=found)

        return answer

    def _readings(self, found: dict[str, Any]) -> None:
        found["power"] = POWER

    def _host(self, found: dict[str, Any]) -> None:
        found |= {"device": DEVICE, "android": True, "power": POWER, "kernel": "6.1.75-android14-11"}
        for each in [*found["namespaces"], *found["features"]]:
            if each["name"] in ("pid", "ipc", "process limit"):
                each |= {
                    "have": False,
                    "why": f"the kernel was built without {each['config']}",
                    "cost": each["cost"] or "Containers have no process 1: a service manager cannot boot.",
                    "hint": f"Build or flash a kernel with {each['config']}; a module cannot add it.",
                }


@pytest.fixture
def phone(look: Visit) -> Phone:
    return Phone(look)


def test_the_guard_explains_itself_and_takes_decisions(phone: Phone) -> None:
    page = phone.visit.page
    phone.guard = TRIPPED
    phone.visit.log_in()
    banner = page.get_by_role("link", name="The phone went down")
    expect(banner).to_contain_text("while PID namespaces were tried")
    check(phone.visit, "guard-banner")
    banner.click()
    expect(page.get_by_role("heading", name="Crash guard")).to_be_visible()
    expect(page.get_by_text("6.6.30-android15-8")).to_be_visible()
    expect(banner).to_be_hidden()
    kernel = page.get_by_label("Text of console-ramoops-0")
    expect(kernel).to_be_hidden()
    check(phone.visit, "guard")
    page.get_by_text("console-ramoops-0").click()
    expect(kernel).to_contain_text("Kernel panic")
    check(phone.visit, "guard-kernel")
    page.get_by_role("button", name="Never use PID namespaces").click()
    expect(page.get_by_text("Containers may start")).to_be_visible()
    page.get_by_role("button", name="Allow again: PID namespaces").click()
    expect(page.get_by_role("button", name="Allow again: PID namespaces")).to_be_hidden()
    assert phone.decisions == [{"action": "never", "feature": "pid"}, {"action": "allow", "feature": "pid"}]


def test_the_safe_mode_is_left_by_trying_again(phone: Phone) -> None:
    page = phone.visit.page
    phone.guard = SAFE
    phone.visit.log_in()
    page.get_by_role("link", name="Safe mode").click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_text("3 times in a row")).to_be_visible()
    check(phone.visit, "guard-safe")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Containers may start")).to_be_visible()
    assert phone.decisions == [{"action": "try-again"}]
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Containers").click()
    expect(page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    expect(page.locator(".banner")).to_have_count(0)


def test_how_a_container_starts(phone: Phone) -> None:
    visit, page, daemon = phone.visit, phone.visit.page, phone.visit.site.daemon
    for name in ("db", "web"):
        visit.site.nspawn.ok("create", name, "--image", "builtin")
    visit.log_in()
    visit.open("/#/containers/web")
    page.get_by_role("switch", name="Start at boot").click()
    for name in ("The internet is there", "Storage is unlocked", "db"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Then start").select_option("After 30 s")
    page.get_by_label("Start again").select_option("When it fails")
    for name in ("Show the phone's storage", "Keep the phone awake", "May be frozen"):
        page.get_by_role("switch", name=name).click()
        expect(page.get_by_role("switch", name=name)).to_be_checked()
    place = page.get_by_label("Place in the container")
    place.fill("/mnt/phone")
    place.press("Enter")
    page.get_by_role("button", name="Storage is unlocked", exact=True).click()
    expect(page.get_by_label("Start again")).to_have_value("on-failure")
    check(visit, "starting")
    assert wait_for(lambda: daemon.info("web")["settings"]["storage"] == "/mnt/phone")
    page.reload()
    expect(page.get_by_label("Place in the container")).to_have_value("/mnt/phone")
    expect(page.get_by_label("Then start")).to_have_value("30")
    found = daemon.info("web")["settings"]
    assert found["autostart"] == {
        "enabled": True,
        "order": 0,
        "delay": 30.0,
        "after": ["db"],
        "when": ["uplink"],
    }
    assert found["restart"]["policy"] == "on-failure"
    assert (found["storage"], found["wake_lock"], found["pausable"]) == ("/mnt/phone", True, True)


def test_what_it_waits_for_and_why_it_is_paused(phone: Phone) -> None:
    visit, page, nspawn = phone.visit, phone.visit.page, phone.visit.site.nspawn
    for name in ("cam", "web"):
        nspawn.ok("create", name, "--image", "builtin")
    nspawn.ok("start", "web")

    def list_all(found: dict[str, Any]) -> None:
        cam, web = found["containers"]
        cam["state"] |= {"waits": "waits for the storage to be unlocked"}
        web["state"] |= {"frozen": "the battery is at 46 °C; it goes on below 42 °C"}

    page.route("**/api/v1/containers", phone._changed(list_all))
    visit.log_in()
    expect(page.get_by_text("Waits", exact=True)).to_be_visible()
    expect(page.get_by_text("Frozen", exact=True)).to_be_visible()
    check(visit, "waiting-list")
    page.get_by_role("link", name="cam", exact=True).click()
    expect(page.get_by_text("Waits for the storage to be unlocked")).to_be_visible()
    expect(page.get_by_role("button", name="Start now")).to_be_visible()
    check(visit, "waiting")
    visit.open("/#/containers/web")
    expect(page.get_by_text("Frozen: the battery is at 46 °C")).to_be_visible()
    expect(page.get_by_role("button", name="Thaw")).to_be_visible()
    check(visit, "frozen")
    nspawn.ok("kill", "web")


def test_a_container_is_frozen_and_thawed(phone: Phone) -> None:
    visit, page, daemon = phone.visit, phone.visit.page, phone.visit.site.daemon
    visit.site.nspawn.ok("create", "web", "--image", "builtin", "--start")
    visit.log_in()
    visit.open("/#/containers/web")
    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.get_by_text("Frozen", exact=True)).to_be_visible()
    assert daemon.state("web")["frozen"]
    check(visit, "frozen-by-hand")
    page.get_by_role("button", name="Thaw").click()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    assert not daemon.state("web")["frozen"]
    visit.site.nspawn.ok("kill", "web")


def test_the_phone_is_measured_while_somebody_looks(phone: Phone) -> None:
    visit, page = phone.visit, phone.visit.page
    visit.log_in()
    page.get_by_role("link", name="Machine").click()
    tiles = page.get_by_role("list", name="Now")
    for text in ("71 %", "41.5 °C", "63 °C"):
        expect(tiles.get_by_text(text)).to_be_visible()
    expect(page.get_by_text("Maker Phone 9 Pro")).to_be_visible()
    expect(page.get_by_text("above 45 °C of the battery")).to_be_visible()
    first = page.locator(".checks > li").first
    expect(first).to_contain_text("missing")
    expect(first).to_contain_text("To do:")
    check(visit, "phone")
