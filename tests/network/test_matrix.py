"""Forwards and ways out: every direction, protocol and family, pinned or not, under a VPN or not.

All questions of one state of the VPN are asked at once; each test looks at one answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.netlab import topology
from tests.support.netlab.android import PhoneLab
from tests.support.netlab.lab import eventually
from tests.support.netlab.probe import Question, ask_all
from tests.support.netlab.product import Network
from tests.support.netlab.topology import (
    HOTSPOT4,
    HOTSPOT6,
    HOTSPOT_GATEWAY4,
    HOTSPOT_GATEWAY6,
    LAN4,
    LAN6,
    REMOTE4,
    REMOTE6,
    VPN4,
    VPN6,
    VPN_SERVER4,
    VPN_SERVER6,
    WORLD4,
    WORLD6,
    line,
)

pytestmark = pytest.mark.root

WIFI, MOBILE = line("wifi"), line("mobile")
#: Each container with its pin; its forward is 8000 and so on, to 7000.
PINS = {"free": "", "wired": "wlan0", "cell": "mobile", "tunnel": "vpn"}
PORTS = {name: 8000 + number for number, name in enumerate(PINS)}
VPNS = ("off", "on", "split")
PROTOS = ("tcp", "udp")


@dataclass(frozen=True)
class Direction:
    """space: who asks, of the lab or a container; at: the addresses; seen: those the container sees of it."""

    space: str
    at: tuple[str, str]
    seen: tuple[str, str] = ("", "")
    only_with_vpn: bool = False


DIRECTIONS = {
    "lan": Direction("lan", (WIFI.near4, WIFI.near6), (LAN4, LAN6)),
    "remote": Direction("remote", (WIFI.near4, WIFI.near6), (REMOTE4, REMOTE6)),
    "hotspot": Direction("hotspot", (HOTSPOT_GATEWAY4, HOTSPOT_GATEWAY6), (HOTSPOT4, HOTSPOT6)),
    "hotspot to wifi": Direction("hotspot", (WIFI.near4, WIFI.near6), (HOTSPOT4, HOTSPOT6)),
    "carrier": Direction("mobile", (MOBILE.near4, MOBILE.near6), (MOBILE.gate4, MOBILE.gate6)),
    "vpn": Direction("vpn", (VPN4, VPN6), (VPN_SERVER4, VPN_SERVER6), only_with_vpn=True),
    "own wifi": Direction("phone", (WIFI.near4, WIFI.near6)),
    "own mobile": Direction("phone", (MOBILE.near4, MOBILE.near6)),
    "own hotspot": Direction("phone", (HOTSPOT_GATEWAY4, HOTSPOT_GATEWAY6)),
    "localhost": Direction("phone", ("127.0.0.1", "::1")),
    "other container": Direction("guest", (WIFI.near4, WIFI.near6)),
    "other container, mobile": Direction("guest", (MOBILE.near4, MOBILE.near6)),
    "itself": Direction("", (WIFI.near4, WIFI.near6)),
}


class Case:
    """One state of the VPN, with all answers."""

    def __init__(self, lab: PhoneLab, network: Network, vpn: str) -> None:
        self.vpn = vpn
        self._lab = lab
        self._network = network
        keys: list[tuple[str, ...]] = []
        questions: list[Question] = []
        for container in PINS:
            for proto in PROTOS:
                for name, direction in DIRECTIONS.items():
                    if direction.only_with_vpn and vpn == "off":
                        continue
                    for family in (4, 6):
                        asking = direction.space or container
                        keys.append((name, container, proto, str(family)))
                        host = direction.at[family == 6]
                        questions.append(self._question(asking, host, PORTS[container], proto))
                for name, host in self.destinations().items():
                    keys.append((name, container, proto))
                    questions.append(self._question(container, host, 7000, proto))
        self.answers = dict(zip(keys, ask_all(questions, 3), strict=True))

    def destinations(self) -> dict[str, str]:
        """Where containers themselves go."""
        found = {"world4": WORLD4, "world6": WORLD6, "lan4": LAN4, "lan6": LAN6}
        found |= {"hotspot4": HOTSPOT4, "hotspot6": HOTSPOT6}
        guest = self._network["guest"]
        return found | {"guest4": guest.address4, "guest6": guest.address6}

    def _question(self, asking: str, host: str, port: int, proto: str) -> Question:
        if asking in self._network.containers:
            return Question(self._network[asking].space, host, port, proto)
        space = self._lab[asking]
        return Question(space, host, port, proto, mark=self._lab.mark_of(space))


@pytest.fixture(scope="module", params=VPNS)
def case(
    request: pytest.FixtureRequest,
    needs_root: None,
    tmp_path_factory: pytest.TempPathFactory,
    busybox_base: Path,
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp(f"matrix-{request.param}")
    lab = PhoneLab(folder / "lab")
    try:
        lab.connect("mobile")
        lab.connect("wifi")
        lab.hotspot_on("mobile")
        network = Network(lab, folder, busybox_base)
        try:
            for name, pin in PINS.items():
                pins = ["--route-via", pin] if pin else []
                ports = [word for proto in PROTOS for word in ("-p", f"{PORTS[name]}:7000/{proto}")]
                network.run(name, *ports, *pins)
            network.run("guest")
            if request.param != "off":
                lab.vpn_on(split=request.param == "split")
                eventually(lambda: network["free"].ask(WORLD4, seconds=0.5).tag, "vpn")
                eventually(lambda: network["tunnel"].ask(WORLD6, seconds=0.5).tag, "vpn")
                eventually(lambda: lab.ask("vpn", VPN4, PORTS["free"], seconds=0.5).tag, "free")
            yield Case(lab, network, request.param)
        finally:
            network.close()
    finally:
        lab.close()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("container", PINS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_forward_is_reached(case: Case, direction: str, container: str, proto: str, family: int) -> None:
    key = (direction, container, proto, str(family))
    if key not in case.answers:
        pytest.skip("no VPN, nobody behind it")
    answer = case.answers[key]
    assert answer.tag == container, answer.why
    seen = DIRECTIONS[direction].seen[family == 6]
    # Who comes from outside is seen as who it is.
    assert not seen or answer.peer == seen


@pytest.mark.parametrize("world", ["world4", "world6"])
@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("container", PINS)
def test_a_container_leaves_by_its_way(case: Case, container: str, proto: str, world: str) -> None:
    vpn = case.vpn != "off"
    expected = {
        "free": "vpn" if vpn else "wifi",
        "wired": "wifi",
        "cell": "mobile",
        "tunnel": "vpn" if vpn else "",
    }[container]
    answer = case.answers[(world, container, proto)]
    assert answer.tag == expected, answer.why
    if expected:
        assert (
            answer.peer
            == {
                ("wifi", "world4"): WIFI.near4,
                ("wifi", "world6"): WIFI.near6,
                ("mobile", "world4"): MOBILE.near4,
                ("mobile", "world6"): MOBILE.near6,
                ("vpn", "world4"): topology.VPN4,
                ("vpn", "world6"): topology.VPN6,
            }[(expected, world)]
        )


@pytest.mark.parametrize("whom", ["lan4", "lan6", "hotspot4", "hotspot6", "guest4", "guest6"])
@pytest.mark.parametrize("proto", PROTOS)
def test_a_container_without_a_pin_reaches_neighbours(case: Case, proto: str, whom: str) -> None:
    answer = case.answers[(whom, "free", proto)]
    assert answer.tag == whom[:-1], answer.why


@pytest.mark.parametrize("whom", ["hotspot4", "hotspot6", "guest4", "guest6"])
@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("container", [name for name, pin in PINS.items() if pin])
def test_a_pinned_container_reaches_who_is_on_the_phone(
    case: Case, container: str, proto: str, whom: str
) -> None:
    answer = case.answers[(whom, container, proto)]
    assert answer.tag == whom[:-1], answer.why
