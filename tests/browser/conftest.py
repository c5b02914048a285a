"""A real server, a real browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.daemon import Daemon, free_port
from tests.support.program import Program

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Everything is on this machine; what takes longer than this hangs.  Milliseconds.
PATIENCE = 15_000

pytestmark = pytest.mark.browser


@dataclass(frozen=True, kw_only=True)
class Screen:
    name: str
    width: int
    height: int
    touch: bool
    scheme: str


SCREENS = [
    Screen(name="phone-light", width=360, height=740, touch=True, scheme="light"),
    Screen(name="desk-dark", width=1280, height=800, touch=False, scheme="dark"),
]
ALL_SCREENS = [
    *SCREENS,
    Screen(name="phone-dark", width=360, height=740, touch=True, scheme="dark"),
    Screen(name="desk-light", width=1280, height=800, touch=False, scheme="light"),
]


class Site:
    """A state folder with its spawner, which serves the page.  port: of 127.0.0.1."""

    def __init__(self, nspawn: Program) -> None:
        self.nspawn = nspawn
        self.port = free_port()
        self.daemon = Daemon(nspawn, self.port)
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.login_address()

    def login_address(self) -> str:
        """What `nspawn login` tells a person to open."""
        found = re.search(r"http://\S+/login#\S+", self.nspawn.ok("login").out)
        assert found
        return found[0]


@dataclass
class Visit:
    """One page and everything that went wrong in it."""

    page: Page
    site: Site
    screen: Screen
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.site.address + path)

    def log_in(self) -> None:
        self.page.goto(self.site.login_address())
        self.page.get_by_role("navigation", name="Pages").wait_for()

    def shoot(self, name: str) -> None:
        """Keep a picture when somebody wants to look at it."""
        folder = os.environ.get("NSPAWN_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            whole = bool(os.environ.get("NSPAWN_WHOLE"))
            self.page.screenshot(path=f"{folder}/{name}-{self.screen.name}.png", full_page=whole)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def site(nspawn: Program) -> Iterator[Site]:
    found = Site(nspawn)
    try:
        found.start()
        yield found
    finally:
        found.daemon.end()


def visit_with(browser: Browser, site: Site, screen: Screen) -> Iterator[Visit]:
    context: BrowserContext = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme="dark" if screen.scheme == "dark" else "light",
        has_touch=screen.touch,
        is_mobile=screen.touch,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    found = Visit(page, site, screen)
    page.on("pageerror", lambda error: found.wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: (
            found.wrong.append(f"{message.type}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on("request", lambda request: found.requests.append(request.url))
    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " e => console.error('policy', e.violatedDirective, e.blockedURI))"
    )
    yield found
    context.close()
    left = [line for line in found.wrong if not any(word in line for word in found.expected)]
    assert not left, "\n".join(left)


@pytest.fixture(params=SCREENS, ids=lambda screen: screen.name)
def visit(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Visit]:
    yield from visit_with(browser, site, request.param)


@pytest.fixture(params=ALL_SCREENS, ids=lambda screen: screen.name)
def look(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Visit]:
    yield from visit_with(browser, site, request.param)
