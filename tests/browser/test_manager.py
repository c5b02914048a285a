"""The module's file inside a root manager: its WebView is stood in for by Chromium and a fake `ksu` object.

The fake runs the page's commands in a real shell, with a fake module folder (the real scripts, its paths
replaced) in front of the real program.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import CHROMIUM, FLAGS, PATIENCE, SCREENS, Screen, Site
from tests.browser.test_page import check_accessible, check_layout
from tests.support.program import REPOSITORY
from tests.support.server import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)

ORIGIN = "https://mui.kernelsu.org"
#: As the managers have it: with a callback it answers later, without one it waits and returns the output.
BRIDGE = """
if (location.protocol === "https:") {
  globalThis.ksu = {
    exec(command, options, callback) {
      globalThis.asked = [...(globalThis.asked ?? []), command];
      if (!callback) { throw new Error("this fake only calls back"); }
      globalThis.fake_root(command).then(([status, out, err]) => globalThis[callback](status, out, err));
    },
  };
}
"""
#: Only the way that waits, as where the policy keeps the callback from running.
WAITS = """
if (location.protocol === "https:") {
  globalThis.ksu = {
    exec(command, options, callback) {
      if (callback) return;
      const request = new XMLHttpRequest();
      request.open("POST", "/fake-root", false);
      request.send(command);
      return request.responseText;
    },
  };
}
"""


class Manager:
    """A module in a folder of the test's, and the shell that reaches it."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.module = folder / "module"
        self.ran: list[str] = []
        commands = self.module / "system/bin"
        commands.mkdir(parents=True)
        (commands / "nspawn").write_text(f'#!/bin/sh\nexec {site.nspawn.path} "$@"\n')
        (commands / "nspawn").chmod(0o755)
        shutil.copytree(REPOSITORY / "share", self.module / "share", ignore=shutil.ignore_patterns("builtin"))
        (self.module / "module.prop").write_text(
            "id=nspawn\nversion=9.9\ndescription=2 containers running, http://localhost:8080\n"
        )
        (self.module / "service.sh").write_text(
            f"{site.nspawn.path} serve --port {site.port} </dev/null >>{self.log} 2>&1 &\n"
        )
        scripts = self.module / "share/module.sh"
        scripts.write_text(scripts.read_text().replace("/data/adb/nspawn", str(site.nspawn.root)))

    @property
    def log(self) -> Path:
        return self.site.nspawn.root / "run/service.log"

    def run(self, command: str) -> tuple[int, str, str]:
        self.ran.append(command)
        command = command.replace("/data/adb/modules/nspawn", str(self.module))
        environment = dict(self.site.nspawn.environment)
        done = subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=30
        )
        return done.returncode, done.stdout, done.stderr

    def serve(self, route: Route) -> None:
        """As the manager's asset loader: files of webroot/, and nothing else."""
        path = route.request.url.removeprefix(ORIGIN)
        if path == "/fake-root":
            status, out, err = self.run(route.request.post_data or "")
            assert status == 0, err
            route.fulfill(body=out)
            return
        file = REPOSITORY / "webroot" / path.lstrip("/")
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        route.fulfill(path=file, content_type=kind)


@pytest.fixture
def manager(site: Site, tmp_path: Path) -> Manager:
    return Manager(site, tmp_path)


@pytest.fixture(params=SCREENS, ids=lambda screen: screen.name)
def webview(request: pytest.FixtureRequest, browser: Browser, manager: Manager) -> Iterator[Page]:
    screen: Screen = request.param
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme="dark" if screen.scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective))"
    )
    page.route(f"{ORIGIN}/**", manager.serve)
    yield page
    context.close()
    assert not wrong


def enter(page: Page, manager: Manager, bridge: str = BRIDGE) -> None:
    page.expose_function("fake_root", manager.run)
    page.add_init_script(bridge)
    page.goto(f"{ORIGIN}/index.html")


def codes(page: Page) -> str:
    """Everything that the document shows or keeps."""
    return str(
        page.evaluate(
            "document.documentElement.outerHTML + JSON.stringify({...localStorage}) + "
            "JSON.stringify({...sessionStorage}) + location.href"
        )
    )


@pytest.mark.parametrize("bridge", [BRIDGE, WAITS], ids=["calls back", "waits"])
def test_the_page_is_opened(webview: Page, manager: Manager, bridge: str) -> None:
    enter(webview, manager, bridge)
    expect(webview.get_by_text("Running", exact=True)).to_be_visible()
    expect(webview.get_by_text("2 containers running")).to_be_visible()
    assert "#" not in codes(webview).replace("&#", "").split("</head>")[1]
    webview.get_by_role("button", name="Open").click()
    webview.wait_for_url(f"{manager.site.address}/")
    expect(webview.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    # The object is there on our page too; it must not turn into the file of the module.
    webview.reload()
    expect(webview.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    webview.go_back()
    assert "/login" not in webview.url, "the address with the code was replaced"


def test_a_service_that_is_not_there_is_started(webview: Page, manager: Manager) -> None:
    manager.site.nspawn.ok("shutdown")
    enter(webview, manager)
    expect(webview.get_by_text("Stopped", exact=True)).to_be_visible()
    expect(webview.get_by_role("button", name="Open")).to_be_hidden()
    webview.get_by_role("button", name="Start").click()
    expect(webview.get_by_text("Running", exact=True)).to_be_visible()
    expect(webview.get_by_role("button", name="Open")).to_be_visible()


def test_a_port_that_is_not_ours_gets_no_code(webview: Page, manager: Manager) -> None:
    nspawn = manager.site.nspawn
    nspawn.ok("shutdown")
    (nspawn.root / "config.toml").write_text("[page]\nport = 0\n")
    nspawn.ok("create", "box", "--image", "builtin", "--start")
    codes_folder = nspawn.root / "run/codes"
    for left in codes_folder.iterdir():
        left.unlink()
    enter(webview, manager)
    webview.get_by_role("button", name="Open").click()
    expect(webview.get_by_role("alert")).to_contain_text("The page cannot be opened")
    expect(webview.get_by_role("alert")).to_contain_text("The page is not served")
    assert list(codes_folder.iterdir()) == []
    nspawn.ok("kill", "box")


def test_a_module_that_is_off_says_so(webview: Page, manager: Manager) -> None:
    manager.site.nspawn.ok("shutdown")
    (manager.module / "disable").touch()
    manager.log.write_text("one line\nThe page: http://127.0.0.1:8080/login#0123456789abcdef0123456789\n")
    enter(webview, manager)
    expect(webview.get_by_text("The module is disabled")).to_be_visible()
    expect(webview.get_by_role("button", name="Start")).to_be_hidden()
    expect(webview.get_by_label("The last lines")).to_contain_text("one line")
    assert "0123456789abcdef" not in codes(webview), "no code is ever shown"


def test_it_looks_good_in_the_manager(webview: Page, manager: Manager) -> None:
    from tests.browser.conftest import Visit

    screen = SCREENS[0] if webview.viewport_size == {"width": 360, "height": 740} else SCREENS[1]
    visit = Visit(webview, manager.site, screen)
    manager.log.write_text("nspawn: listening\n" * 3)
    enter(webview, manager)
    expect(webview.get_by_role("button", name="Open")).to_be_visible()
    webview.get_by_text("Log", exact=True).click()
    visit.shoot("manager")
    check_accessible(visit)
    check_layout(visit)


def test_a_code_in_a_browsers_history_is_worth_nothing(browser: Browser, site: Site, tmp_path: Path) -> None:
    """Chromium keeps every address that it opened from outside, also one that replaced itself at once.

    So the code stands in its history: used, by the time it can be read there.
    """
    profile = tmp_path / "profile"
    address = site.login_address()
    code = address.partition("#")[2]
    codes = site.nspawn.root / "run/codes"
    issued = len(list(codes.iterdir()))
    arguments = [*(flag for flag in FLAGS if flag != "--headless"), "--headless=new"]
    context = browser.browser_type.launch_persistent_context(
        str(profile), executable_path=CHROMIUM, args=arguments, ignore_default_args=["--headless"]
    )
    page = context.pages[0]
    page.goto(address)
    expect(page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    assert len(list(codes.iterdir())) == issued - 1, "it was used before anything was shown"
    history = profile / "Default/History"
    assert wait_for(lambda: history.exists() and addresses(history), 20)
    context.close()
    kept = addresses(history)
    left = [each for each in kept if code in each]
    assert all(each == address for each in left), kept
    status, answer = post_code(site, code)
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


def post_code(site: Site, code: str) -> tuple[int, Any]:
    """What a thief of the history would try."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    headers = {"Content-Type": "application/json", "X-Nspawn": "1"}
    connection.request("POST", "/api/v1/login", json.dumps({"code": code}), headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def addresses(history: Path) -> list[str]:
    copy = history.with_name(f"copy-{time.monotonic_ns()}")
    shutil.copy(history, copy)
    with sqlite3.connect(copy) as database:
        return [url for (url,) in database.execute("select url from urls")]
