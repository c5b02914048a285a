"""The network's screen, and a container's place in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import PATIENCE, Visit
from tests.browser.test_page import check, create
from tests.support.command import check as check_command
from tests.support.command import run

pytestmark = [pytest.mark.browser, pytest.mark.root]
expect.set_options(timeout=PATIENCE)


def uplink(name: str, kind: str, state: str = "up", **more: Any) -> dict[str, Any]:
    there = state == "up"
    return {
        "name": name,
        "interface4": name,
        "kind": kind,
        "state": state,
        "default": False,
        "ip4": there,
        "ip6": there,
        "table4": 1012,
        "table6": 1012,
        "netid": 101,
        "apps": False,
        "why": "",
    } | more


def member(name: str, number: int, link: str | None, why: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "owner": name,
        "running": True,
        "slot": number,
        "ip4": f"10.11.0.{number + 2}",
        "ip6": f"fd11::{number + 2:x}",
        "mac": "02:6e:73:70:00:00",
        "interface": f"nsp{number}",
        "pin": [],
        "on_down": "block",
        "dns": [],
        "ipv6": "auto",
        "path": {"uplink": link, "why": why},
        "forwards": [],
    } | more


def forward(text: str, host: int, inside: int, *, ports: int = 1, warning: str = "") -> dict[str, Any]:
    return {
        "text": text,
        "proto": "tcp",
        "listen": "",
        "host": host,
        "container": inside,
        "ports": ports,
        "warning": warning,
    }


def status(**more: Any) -> dict[str, Any]:
    """A phone with WiFi, mobile data and a VPN that is down."""
    return {
        "up": True,
        "spawner": True,
        "mode": "bridge",
        "bridge": "nspawn_br1",
        "subnet": {
            "ip4": "10.11.0.0/24",
            "ip6": "fd11::/64",
            "gateway4": "10.11.0.1",
            "gateway6": "fd11::1",
            "room": 253,
            "used": 4,
        },
        "ipv6": {"mode": "none", "why": "this kernel has no NAT for IPv6 (CONFIG_IP6_NF_NAT)"},
        "dns": {"address": "10.11.0.1", "process": None},
        "uplinks": [
            uplink("wlan0", "wifi", default=True),
            uplink("rmnet_data1", "mobile"),
            uplink("tun0", "vpn", "down", why="it has no carrier"),
        ],
        "excluded": [{"name": "rmnet_data0", "why": "it is a network that is restricted"}],
        "order": ["vpn", "wifi,ethernet", "mobile"],
        "free": {
            "uplink": "wlan0",
            "why": "via wlan0, the first that is there of vpn > wifi,ethernet > mobile",
        },
        "containers": [
            member(
                "web",
                0,
                "wlan0",
                "via wlan0, the first that is there of vpn > wifi,ethernet > mobile",
                forwards=[
                    forward("8080:80/tcp", 8080, 80),
                    forward(
                        "2000-2010:2000/tcp",
                        2000,
                        2000,
                        ports=11,
                        warning="port 2005/tcp leads to web from now on",
                    ),
                ],
            ),
            member(
                "a-container-with-a-rather-long-name",
                1,
                "rmnet_data1",
                "via rmnet_data1 because of pin mobile",
                pin=["mobile"],
            ),
            member("tor", 2, None, "blocked because pin vpn is down and on_down=block", pin=["vpn"]),
            member("old", 3, "wlan0", "via wlan0", running=False),
        ],
        "notes": [
            {
                "what": "a rule of another program takes the containers' packets: 5030: from 10.0.0.0/8",
                "why": "ours come before it, 1000 to 3999, so containers are not affected",
                "hint": "",
            }
        ],
    } | more


def serve(visit: Visit, answer: dict[str, Any]) -> None:
    """The network's status is this; all else is the real program's."""

    def fulfil(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=json.dumps(answer))

    visit.page.route("**/api/v1/network", fulfil)


def test_the_picture_tells_who_goes_where(look: Visit) -> None:
    page = look.page
    look.log_in()
    serve(look, status())
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Network").click()
    expect(page.get_by_role("heading", name="Network", exact=True)).to_be_visible()
    containers = page.get_by_role("list", name="Containers").get_by_role("listitem")
    expect(containers).to_have_count(4)
    expect(containers.nth(0)).to_contain_text("goes to wlan0")
    expect(containers.nth(1)).to_contain_text("goes to rmnet_data1")
    expect(containers.nth(2)).to_contain_text("goes nowhere")
    uplinks = page.get_by_role("list", name="Uplinks").get_by_role("listitem")
    expect(uplinks).to_have_count(3)
    expect(uplinks.nth(2)).to_contain_text("VPN, down")
    expect(page.get_by_text("5030: from 10.0.0.0/8")).to_be_visible()
    check(look, "network")
    page.get_by_text("Why", exact=True).click()
    expect(page.get_by_text("Blocked because pin vpn is down and on_down=block.")).to_be_visible()
    check(look, "network-why")
    page.get_by_role("list", name="Containers").get_by_role("link", name="web").click()
    expect(page.get_by_role("heading", name="There is no web")).to_be_visible()


def test_many_containers_are_put_together(visit: Visit) -> None:
    visit.log_in()
    many = [member(f"c{number}", number, "wlan0", "via wlan0") for number in range(40)]
    many += [member("pinned", 40, None, "blocked because pin vpn is down", pin=["vpn"])]
    serve(visit, status(containers=many, notes=[]))
    visit.open("/#/network")
    containers = visit.page.get_by_role("list", name="Containers").get_by_role("listitem")
    expect(containers).to_have_count(2)
    expect(containers.nth(0)).to_contain_text("40 containers")
    expect(containers.nth(1)).to_contain_text("pinned")
    check(visit, "network-many")


def test_a_machine_without_any_uplink_or_container(visit: Visit) -> None:
    visit.log_in()
    serve(
        visit,
        status(
            up=False,
            uplinks=[],
            containers=[],
            excluded=[],
            notes=[],
            free={"uplink": None, "why": "nowhere because no uplink is up"},
        ),
    )
    visit.open("/#/network")
    expect(visit.page.get_by_text("Nothing leads to the internet now.")).to_be_visible()
    expect(visit.page.get_by_role("button", name="Take it down")).to_have_count(0)
    check(visit, "network-empty")


def test_what_the_program_tells_is_shown(visit: Visit) -> None:
    visit.log_in()
    visit.open("/#/network")
    expect(visit.page.get_by_role("heading", name="Who goes where")).to_be_visible()
    expect(visit.page.get_by_text("10.11.0.0/24")).to_be_visible()
    check(visit, "network-real")


def test_an_error_is_shown_and_tried_again(visit: Visit) -> None:
    visit.expected.add("422")
    visit.log_in()
    error = {
        "code": "unsupported",
        "what": "there is no iptables",
        "why": "it is needed",
        "hint": "Install it.",
    }
    visit.page.route(
        "**/api/v1/network",
        lambda route: route.fulfill(
            status=422, content_type="application/json", body=json.dumps({"error": error})
        ),
    )
    visit.open("/#/network")
    expect(visit.page.get_by_role("alert")).to_contain_text("There is no iptables")
    visit.page.unroute("**/api/v1/network")
    serve(visit, status())
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.page.get_by_role("list", name="Uplinks")).to_be_visible()


def test_a_containers_network_is_set_and_errors_stand_at_their_field(visit: Visit) -> None:
    visit.expected |= {"400", "409"}
    page, nspawn, daemon = visit.page, visit.site.nspawn, visit.site.daemon
    nspawn.ok("create", "other", "--image", "builtin", "-p", "9000:80")
    nspawn.ok("create", "box", "--image", "builtin")
    visit.log_in()
    visit.open("/#/containers/box")
    card = page.get_by_role("region", name="Network")
    card.get_by_label("Network").select_option("nat")
    ports = card.get_by_role("group", name="Ports", exact=True)
    field = ports.get_by_role("textbox")
    field.fill("8080:80")
    ports.get_by_role("button", name="Add").click()
    expect(ports.get_by_text("8080:80/tcp")).to_be_visible()
    field.fill("5353:53/udp")
    field.press("Enter")
    expect(ports.get_by_text("5353:53/udp")).to_be_visible()
    assert daemon.info("box")["settings"]["network"]["ports"] == ["8080:80/tcp", "5353:53/udp"]

    field.fill("80")
    field.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(ports.get_by_text("'80' is not a forward")).to_be_visible()
    expect(field).to_have_value("80")
    check(visit, "connection-wrong")
    field.fill("9000:80")
    field.press("Enter")
    expect(ports.get_by_text("other has 9000:80/tcp")).to_be_visible()
    ports.get_by_role("button", name="Remove 8080:80/tcp").click()
    expect(ports.get_by_text("8080:80/tcp")).to_have_count(0)

    pins = card.get_by_role("group", name="Ways out")
    for word in ("wifi", "mobile"):
        pins.get_by_role("textbox").or_(pins.get_by_role("combobox")).fill(word)
        pins.get_by_role("button", name="Add").click()
        expect(pins.get_by_role("button", name=f"Remove {word}")).to_be_visible()
    pins.get_by_role("button", name="Prefer mobile").click()
    expect(pins.get_by_role("listitem").first).to_contain_text("mobile")
    card.get_by_label("When none is up").select_option("fallback")
    card.get_by_text("More", exact=True).click()
    address = card.get_by_label("Fixed address")
    address.fill("10.11.0.300")
    address.press("Enter")
    expect(card.get_by_text("'10.11.0.300' is not an IPv4 address")).to_be_visible()
    address.fill("10.11.0.77")
    address.press("Enter")
    expect(address).not_to_have_attribute("aria-invalid", "true")
    check(visit, "connection")
    found = daemon.info("box")["settings"]["network"]
    assert (found["mode"], found["pin"], found["on_down"], found["ip"]) == (
        "nat",
        ["mobile", "wifi"],
        "fallback",
        "10.11.0.77",
    )
    assert found["ports"] == ["5353:53/udp"]
    card.get_by_text("Why it goes there").click()
    expect(card.get_by_text("box does not run.")).to_be_visible()


def test_a_container_is_created_with_a_network_of_its_own(visit: Visit) -> None:
    visit.expected |= {"400", "409"}
    page, daemon = visit.page, visit.site.daemon
    visit.log_in()
    visit.open("/#/new")
    page.get_by_label("Name").fill("web")
    page.get_by_label("Network").select_option("nat")
    ports = page.get_by_role("textbox", name="Ports")
    ports.fill("8080:80, 8022:22")
    page.get_by_label("Start it when it is ready").uncheck()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("stays with Termux's sshd")).to_be_visible()
    expect(ports).to_have_attribute("aria-invalid", "true")
    check(visit, "create-network")
    ports.fill("8080:80 8023:22")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="web")).to_be_visible()
    found = daemon.info("web")["settings"]["network"]
    assert (found["mode"], found["ports"]) == ("nat", ["8080:80/tcp", "8023:22/tcp"])


def test_a_container_of_the_machines_network_shows_no_more(visit: Visit) -> None:
    visit.log_in()
    create(visit, "plain")
    card = visit.page.get_by_role("region", name="Network")
    expect(card.get_by_label("Network")).to_have_value("host")
    expect(card.get_by_role("group", name="Ports")).to_have_count(0)


@contextmanager
def an_uplink() -> Iterator[None]:
    """This machine has a default route for the block: the tests' box has none."""
    with ExitStack() as undo:
        check_command(["ip", "link", "add", "upl0", "type", "veth", "peer", "name", "upl1"])
        undo.callback(run, ["ip", "link", "del", "upl0"])
        check_command(["ip", "addr", "add", "192.0.2.10/24", "dev", "upl0"])
        for name in ("upl0", "upl1"):
            check_command(["ip", "link", "set", name, "up"])
        check_command(["ip", "route", "add", "default", "via", "192.0.2.1", "metric", "4000"])
        yield


def test_a_running_container_shows_its_way_as_it_changes(visit: Visit) -> None:
    if run(["ip", "route", "show", "default"]).out:
        pytest.skip("this machine has an uplink already")
    visit.expected.add("409")
    page, nspawn = visit.page, visit.site.nspawn
    nspawn.ok("create", "box", "--image", "builtin", "--net", "-p", "8087:80")
    visit.log_in()
    visit.open("/#/containers/box")
    page.get_by_role("button", name="Start", exact=True).click()
    card = page.get_by_role("region", name="Network")
    expect(card.get_by_text("10.11.0.2, fd11::2")).to_be_visible()
    expect(card.get_by_text("Nowhere because no uplink is up")).to_be_visible()
    with an_uplink():
        expect(card.get_by_text("Via upl0 by the machine's own routes")).to_be_visible()
        card.get_by_text("Why it goes there").click()
        expect(card.get_by_text("Port 8087/tcp of this machine leads to its port 80.")).to_be_visible()
        card.get_by_text("As commands").click()
        expect(card.get_by_label("Commands")).to_contain_text("ip -4 rule add pref 1000")
        check(visit, "connection-running")
        visit.open("/#/network")
        uplinks = page.get_by_role("list", name="Uplinks").get_by_role("listitem")
        expect(uplinks).to_contain_text(["upl0"])
        check(visit, "network-running")
    expect(page.get_by_role("list", name="Containers")).to_contain_text("goes nowhere")
    page.get_by_role("button", name="Take it down").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("box is cut off until the next start")
    dialog.get_by_role("button", name="Take it down").click()
    expect(page.get_by_text("down; it comes with the first container that needs it")).to_be_visible()
    assert "nspawn_br1" not in run(["ip", "-br", "link"]).out
    nspawn.ok("stop", "box", "--time", "1")
