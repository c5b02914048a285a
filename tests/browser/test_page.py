"""A person's first container, in a real browser against the real program."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE, Visit
from tests.support.program import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)


def check_accessible(visit: Visit) -> None:
    """axe-core's rules, through the debugging protocol: the page's policy lets no script in."""
    session = visit.page.context.new_cdp_session(visit.page)
    axe = (REPOSITORY / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    session.send("Runtime.evaluate", {"expression": axe + ";0"})
    answer = session.send(
        "Runtime.evaluate",
        {
            "expression": "axe.run(document).then(r => JSON.stringify(r.violations.map("
            "v => [v.id, v.help, v.nodes.map(n => n.html + ' ' + n.failureSummary)])))",
            "awaitPromise": True,
        },
    )
    violations: list[Any] = json.loads(answer["result"]["value"])
    assert violations == []
    session.detach()


def check_layout(visit: Visit) -> None:
    """Nothing wider than the screen, and on touch nothing too small for a finger."""
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= visit.screen.width
    small = page.evaluate(
        "[...document.querySelectorAll('a.button, button, .nav a, .choice, input[type=text], .back')]"
        ".map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])"
        ".filter(([, r]) => r.width > 0 && (r.height < 43.5 || r.width < 43.5))"
        ".map(([html, r]) => `${html} ${r.width}x${r.height}`)"
    )
    assert small == []


def check(visit: Visit, name: str) -> None:
    visit.shoot(name)
    check_accessible(visit)
    check_layout(visit)


def create(visit: Visit, name: str) -> None:
    page = visit.page
    visit.open("/#/new")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()


def test_the_first_container(visit: Visit) -> None:
    page, nspawn = visit.page, visit.site.nspawn
    visit.log_in()
    assert page.url == visit.site.address + "/"
    expect(page.get_by_text("No containers yet")).to_be_visible()
    check(visit, "empty")

    page.get_by_role("link", name="Create the first container").click()
    page.get_by_label("Name").fill("Not a name")
    expect(page.get_by_text("beginning with a letter or digit")).to_be_visible()
    check(visit, "create")
    page.get_by_label("Name").fill("web")
    page.get_by_role("button", name="Create").click()

    expect(page.get_by_role("heading", name="web")).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    console = page.get_by_role("log")
    expect(console).to_contain_text("BusyBox")
    check(visit, "container")

    page.get_by_role("switch", name="Start at boot").click()
    expect(page.get_by_role("switch", name="Start at boot")).to_be_checked()
    assert visit.site.daemon.info("web")["settings"]["autostart"]["enabled"] is True

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    assert visit.site.daemon.state("web")["state"] == "stopped"
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    page.get_by_role("button", name="Kill web at once").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()

    page.get_by_role("button", name="Delete this container").click()
    dialog = page.get_by_role("dialog", name="Delete web?")
    expect(dialog).to_be_visible()
    check(visit, "delete")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete this container").click()
    dialog.get_by_role("button", name="Delete web").click()
    expect(page.get_by_text("No containers yet")).to_be_visible()
    assert nspawn.json("list", "--json") == []


def test_what_others_do_is_shown_at_once(visit: Visit) -> None:
    page, nspawn, daemon = visit.page, visit.site.nspawn, visit.site.daemon
    visit.log_in()
    expect(page.locator(".link[data-link=live]").locator("visible=true")).to_be_visible()
    nspawn.ok("create", "box", "--image", "builtin")
    expect(page.get_by_role("link", name="box", exact=True)).to_be_visible()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    green = 'printf "\\033[32mgreen\\033[0m\\n"'
    daemon.set("box", command=f"/bin/sh -c 'for i in 1 2 3; do echo line $i; done; {green}; sleep 100'")
    nspawn.ok("start", "box")
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    check(visit, "list")
    page.get_by_role("link", name="box", exact=True).click()
    console = page.get_by_role("log")
    expect(console).to_contain_text("line 3")
    expect(console.locator(".c2")).to_have_text("green")
    nspawn.ok("stop", "box", "--time", "1")
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    nspawn.ok("start", "box")
    expect(console.get_by_text("line 3")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    nspawn.ok("rm", "box")
    expect(page.get_by_text("There is no box")).to_be_visible()


def test_a_long_console_can_be_paused(visit: Visit) -> None:
    page, nspawn, daemon = visit.page, visit.site.nspawn, visit.site.daemon
    nspawn.ok("create", "box", "--image", "builtin")
    daemon.set(
        "box", command="/bin/sh -c 'i=0; while :; do i=$((i+1)); echo number $i end; sleep 0.02; done'"
    )
    visit.log_in()
    nspawn.ok("start", "box")
    visit.open("/#/containers/box")
    console = page.get_by_role("log")
    expect(console).to_contain_text("number 60 end")
    at_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight < 24"
    assert console.evaluate(at_end)
    page.get_by_role("button", name="Pause").click()
    expect(console).to_contain_text("number 120 end")
    assert not console.evaluate(at_end)
    page.get_by_role("button", name="Follow").click()
    assert console.evaluate(at_end)
    nspawn.ok("kill", "box")


def make_tarball(busybox: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in sorted(busybox.iterdir()):
            archive.add(path, path.name)
    return made.getvalue()


def take_password(visit: Visit) -> str:
    """The password that is shown once."""
    visit.page.get_by_role("button", name="Show the password").click()
    password = visit.page.get_by_label("Password of root").input_value()
    assert len(password) >= 12
    return password


def test_a_tarball_is_uploaded(visit: Visit, busybox: Path) -> None:
    page = visit.page
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("sent")
    page.get_by_role("radio", name="Upload a file").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Choose the file.")).to_be_visible()
    page.set_input_files(
        "#file", {"name": "a.tar.gz", "mimeType": "application/gzip", "buffer": make_tarball(busybox)}
    )
    expect(page.get_by_text("a.tar.gz")).to_be_visible()
    page.get_by_role("checkbox", name="Run its own init").check()
    check(visit, "upload")
    page.get_by_role("checkbox", name="Run its own init").uncheck()
    page.get_by_role("button", name="Create").click()
    take_password(visit)
    check(visit, "password")
    page.get_by_role("link", name="Show sent").click()
    expect(page.get_by_role("heading", name="sent")).to_be_visible()
    expect(page.get_by_text("Password of root")).to_be_hidden()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    page.get_by_role("button", name="Kill sent at once").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    page.get_by_role("switch", name="Run its own init").click()
    expect(page.get_by_role("switch", name="Run its own init")).to_be_checked()
    assert visit.site.daemon.info("sent")["settings"]["boot"] is True


def test_an_upload_can_run_its_own_init(visit: Visit, busybox: Path) -> None:
    page = visit.page
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("machine")
    page.get_by_role("radio", name="Upload a file").check()
    page.set_input_files(
        "#file", {"name": "a.tar.gz", "mimeType": "application/gzip", "buffer": make_tarball(busybox)}
    )
    page.get_by_role("checkbox", name="Run its own init").check()
    page.get_by_role("checkbox", name="Start it when it is ready").uncheck()
    page.get_by_label("Password of root").select_option("own")
    page.get_by_label("Your password").fill("grün & 'sesame'")
    page.get_by_text("Advanced").click()
    page.get_by_label("Time zone").fill("../Berlin")
    page.get_by_role("button", name="SSH keys").click()
    page.get_by_text("Advanced").click()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("This is no time zone")).to_be_visible()
    expect(page.get_by_label("Time zone")).to_be_focused()
    page.get_by_label("Time zone").fill("Europe/Berlin")
    check(visit, "advanced")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Europe/Berlin")).to_be_visible()
    page.get_by_role("link", name="Show machine").click()
    expect(page.get_by_role("heading", name="machine")).to_be_visible()
    shadow = (visit.site.nspawn.root / "containers/machine/rootfs/etc/shadow").read_text()
    assert shadow.startswith("root:$")
    assert visit.site.daemon.info("machine")["settings"]["boot"] is True


def test_a_failure_says_what_why_and_what_to_do(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("web")
    page.get_by_role("radio", name="Folder on the machine").check()
    page.get_by_label("Path").fill(str(tmp_path / "missing"))
    page.get_by_role("button", name="Create").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("missing")
    check(visit, "problem")
    page.get_by_label("Path").fill("relative")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Give an absolute path")).to_be_visible()


def test_the_machine_is_explained(visit: Visit) -> None:
    page = visit.page
    visit.log_in()
    page.get_by_role("link", name="Machine").click()
    expect(page.get_by_role("heading", name="For containers")).to_be_visible()
    tiles = page.get_by_role("list", name="Now")
    for label in ("Memory", "Load", "Disk"):
        expect(tiles.get_by_text(label, exact=True)).to_be_visible()
    check(visit, "machine")
    page.get_by_text("What is there").click()
    expect(page.get_by_text("Own mounts")).to_be_visible()
    check(visit, "machine-all")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_token_logs_in_and_a_wrong_one_does_not(visit: Visit) -> None:
    page = visit.page
    visit.expected.add("401")
    visit.open("/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    check(visit, "login")
    page.get_by_label("Token of this machine").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("refused")
    check(visit, "refused")
    token = visit.site.nspawn.ok("token").out.strip().split()[-1]
    page.get_by_label("Token of this machine").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()


def test_a_used_code_says_so(visit: Visit) -> None:
    visit.expected.add("401")
    address = visit.site.login_address()
    visit.page.goto(address)
    expect(visit.page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    assert "#" not in visit.page.url
    visit.page.evaluate("localStorage.clear()")
    visit.page.goto("about:blank")
    visit.page.goto(address)
    expect(visit.page.get_by_role("alert")).to_contain_text("refused")


def test_the_first_load_keeps_its_budget(visit: Visit) -> None:
    bodies: list[bytes] = []
    visit.page.on(
        "response", lambda answer: bodies.append(answer.body()) if "/api/" not in answer.url else None
    )
    visit.page.goto(visit.site.login_address())
    expect(visit.page.get_by_role("heading", name="Containers", exact=True)).to_be_visible()
    assert sum(len(gzip.compress(body, 9)) for body in bodies) < 60_000
    assert len(visit.requests) <= 45
    assert all(url.startswith(visit.site.address) for url in visit.requests)


def test_names_and_output_never_become_markup(visit: Visit) -> None:
    page, nspawn, daemon = visit.page, visit.site.nspawn, visit.site.daemon
    nspawn.ok("create", "box", "--image", "builtin")
    daemon.set(
        "box",
        command="/bin/sh -c 'echo \"<img src=x onerror=alert(1)><script>alert(2)</script>\"; sleep 100'",
    )
    nspawn.ok("start", "box")
    visit.log_in()
    visit.open("/#/containers/box")
    expect(page.get_by_role("log")).to_contain_text("<img src=x onerror=alert(1)><script>")
    assert page.locator("img, script:not([type=module])").count() == 0
    visit.open("/#/containers/%3Cimg%20src%3Dx%3E")
    expect(page.get_by_text("There is no <img src=x>")).to_be_visible()
    nspawn.ok("kill", "box")


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    page = visit.page
    visit.log_in()
    expect(page.get_by_text("No containers yet")).to_be_visible()
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
    for text in ("nspawn", "Containers", "New", "Machine", "Create the first container"):
        assert any(re.search(text, found) for found in seen), seen


def test_the_page_comes_back_with_the_server(visit: Visit) -> None:
    page = visit.page
    visit.expected |= {"ERR_", "Failed to load"}
    visit.log_in()
    expect(page.locator(".link[data-link=live]").locator("visible=true")).to_be_visible()
    end_web_process(visit)
    expect(page.locator(".link[data-link=lost]").locator("visible=true")).to_be_visible()
    expect(page.locator(".link[data-link=live]").locator("visible=true")).to_be_visible()
    create(visit, "after")
    page.get_by_role("button", name="Kill after at once").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()


def end_web_process(visit: Visit) -> None:
    import os
    import signal

    pid = int(Path(visit.site.daemon.root, "run/web.pid").read_text())
    os.kill(pid, signal.SIGKILL)


def test_it_looks_good(look: Visit, busybox: Path) -> None:
    """Every screen once, for the pictures; the other tests have checked what they do."""
    page, nspawn, daemon = look.page, look.site.nspawn, look.site.daemon
    for name, command in (
        ("debian", "/bin/sh -c 'echo up; sleep 1000'"),
        ("media", "/bin/sh -c 'exit 3'"),
        ("web", SERVES),
    ):
        nspawn.ok("create", name, "--image", "builtin")
        daemon.set(name, command=command)
        if name != "debian":
            nspawn.ok("start", name)
    daemon.set("web", autostart="true")
    look.log_in()
    expect(page.get_by_role("link", name="media", exact=True)).to_be_visible()
    check(look, "all-list")
    visit_path(page, look, "/#/containers/web")
    expect(page.get_by_role("log")).to_contain_text("ready")
    check(look, "all-container")
    for path in ("new", "host"):
        visit_path(page, look, f"/#/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        check(look, f"all-{path}")
    nspawn.ok("kill", "web")


SERVES = (
    "/bin/sh -c 'mkdir -p /srv && cd /srv && echo hello > index.html;"
    ' printf "\\033[1mStarting services\\033[0m\\n";'
    ' for s in network dropbear cron httpd; do printf "[ \\033[32m ok \\033[0m ] $s\\n"; done;'
    ' printf "httpd: listening on \\033[36m0.0.0.0:8081\\033[0m\\n"; echo ready; sleep 1000\''
)


def visit_path(page: Page, look: Visit, path: str) -> None:
    look.open(path)
    page.locator("h1").first.wait_for()
