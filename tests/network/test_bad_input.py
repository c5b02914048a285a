"""What cannot be is refused by a clear error, and nothing of the network has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.netlab.android import PhoneLab
from tests.support.netlab.product import Network
from tests.support.netlab.residue import Residue
from tests.support.netlab.topology import WORLD4

pytestmark = pytest.mark.root

#: Options of `nspawn create` and of a run with --net, with a word that the error has.
WRONG = (
    (["--ip", "10.11.0"], "10.11.0"),
    (["--ip", "10.11.0.256"], "10.11.0.256"),
    (["--ip", "fd11::5"], "fd11::5"),
    (["-p", "80"], "80"),
    (["-p", "0:80"], "0"),
    (["-p", "70000:80"], "70000"),
    (["-p", "8000-7000:80"], "8000-7000"),
    (["-p", "8000-8010:65530"], "65530"),
    (["-p", "8000:80/sctp"], "sctp"),
    (["-p", "1.2.3:8000:80"], "1.2.3"),
    (["-p", "[fd11::1:8000:80"], "fd11"),
    (["-p", "a:b"], "a"),
    (["-p", "8022:22"], "8022"),
    (["-p", "8000:80", "-p", "8000:81"], "8000"),
    (["-P", "8000"], "8000"),
    (["-P", "9000:8000"], "9000:8000"),
    (["-P", "0:10"], "0"),
    (["-P", "65530:65540"], "65540"),
    (["--route-via", "a name"], "a name"),
    (["--route-via", "an-interface-with-a-long-name"], "an-interface-with-a-long-name"),
    (["--route-via", "wlan0/../x"], "wlan0/../x"),
    (["--route-via", "wlan0", "--on-down", "panic"], "panic"),
    (["--dns", "one.example"], "one.example"),
)


def wrong_ids() -> list[str]:
    return [" ".join(words) for words, _ in WRONG]


@pytest.mark.parametrize(("options", "word"), WRONG, ids=wrong_ids())
def test_a_wrong_option_of_create_is_refused(network: Network, options: list[str], word: str) -> None:
    before = Residue(network.lab.phone)
    refused = network.nspawn("create", "one", "--rootfs", network.rootfs("one"), "--net", "nat", *options)
    assert refused.status == 2, refused
    assert word in refused.err
    assert "Traceback" not in refused.err
    assert network.nspawn.json("list", "--json") == []
    assert before.changed(Residue(network.lab.phone)) == []


@pytest.mark.parametrize(("options", "word"), WRONG, ids=wrong_ids())
def test_a_wrong_option_of_a_run_is_refused(network: Network, options: list[str], word: str) -> None:
    before = Residue(network.lab.phone)
    refused = network.nspawn("--net", *options, network.rootfs("one"), "true")
    assert refused.status == 2, refused
    assert word in refused.err
    assert "Traceback" not in refused.err
    assert before.changed(Residue(network.lab.phone)) == []


def test_an_address_of_another_container_is_refused(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one")
    network.create("two")
    for name in ("two", "three"):
        rootfs = network.rootfs(name)
        words = ["set", "two", f"network.ip={one.address4}"]
        if name == "three":
            words = ["create", name, "--rootfs", str(rootfs), "--net", "nat", "--ip", one.address4]
        refused = network.nspawn(*words)
        assert refused.status == 1, refused
        assert "one" in refused.err
    assert network.start("two").address4 != one.address4
    assert one.ask(WORLD4).tag == "wifi"


@pytest.mark.parametrize("address", ["192.168.77.5", "10.11.0.0", "10.11.0.1", "10.11.0.255"])
def test_an_address_that_no_container_can_have_is_refused(network: Network, address: str) -> None:
    network.lab.connect("wifi")
    before = Residue(network.lab.phone)
    network.nspawn.ok("net", "up")
    words = ["create", "one", "--rootfs", str(network.rootfs("one")), "--net", "nat", "--ip", address]
    created = network.nspawn(*words)
    refused = network.nspawn("start", "one") if created.status == 0 else created
    assert refused.status in (1, 2), refused
    assert address in refused.err
    assert "nsp0" not in network.lab.phone.interfaces()
    network.nspawn.ok("net", "down")
    assert before.changed(Residue(network.lab.phone)) == []


def test_a_port_of_another_container_is_refused_and_the_firewall_unchanged(
    phone: PhoneLab, network: Network
) -> None:
    phone.connect("wifi")
    network.run("one", "-p", "8000-8010:7000")
    before = Residue(phone.phone)
    network.create("two", "-p", "9000:7000")
    for ports in ("8005:80", "7990-8000:80", "127.0.0.1:8010:80"):
        refused = network.nspawn("set", "two", f"network.ports={ports}")
        assert refused.status == 1, refused
        assert "one" in refused.err
    run = network.nspawn("--net", "-P", "8010:8020", network.rootfs("three"), "true")
    assert run.status == 1, run
    assert "one" in run.err
    assert before.changed(Residue(phone.phone)) == []
    network.nspawn.ok("set", "two", "network.ports=8005:80/udp")


def test_a_port_that_the_phone_listens_on_is_warned_of(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    with phone.serving(phone.phone, "phone", 8000):
        network.create("one", "-p", "8000:7000")
        started = network.nspawn.ok("start", "one")
        assert "8000" in started.err + network.nspawn.ok("net", "status").out


def test_a_range_leaves_termux_its_port(phone: PhoneLab, network: Network) -> None:
    phone.connect("wifi")
    one = network.run("one", "-P", "8020:8025")
    with phone.serving(phone.phone, "termux", 8022), phone.serving(one.space, "inside", 8023):
        assert phone.ask("lan", "192.168.1.50", 8022).tag == "termux"
        assert phone.ask("lan", "192.168.1.50", 8023).tag == "inside"


def test_an_unknown_interface_is_waited_for_by_a_named_container_only(
    phone: PhoneLab, network: Network
) -> None:
    phone.connect("wifi")
    named = network.run("named", "--route-via", "eth7")
    assert named.ask(WORLD4, seconds=0.4).tag == ""
    refused = network.nspawn("--net", "--route-via", "eth7", network.rootfs("two"), "true")
    assert refused.status in (1, 2), refused
    assert "eth7" in refused.err
    assert "wlan0" in refused.err


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('subnet = "10.11.0.0/30"', "/30"),
        ('subnet = "10.11.0.5/24"', "10.11.0.5"),
        ('subnet = "8.8.8.0/24"', "8.8.8.0"),
        ('subnet = "nonsense"', "nonsense"),
        ('subnet6 = "2001:db8::/64"', "2001:db8::"),
        ('subnet6 = "fd11::/80"', "fd11::"),
        ('bridge = "a-name-that-is-much-too-long"', "bridge"),
        ('order = ["a name"]', "a name"),
        ("rule_base = 20000", "rule_base"),
        ("nonsense = 1", "nonsense"),
    ],
)
def test_wrong_settings_of_the_network_are_told(
    phone: PhoneLab, tmp_path: Path, busybox_base: Path, line: str, word: str
) -> None:
    phone.connect("wifi")
    before = Residue(phone.phone)
    network = Network(phone, tmp_path, busybox_base, config=line)
    try:
        refused = network.nspawn("net", "up")
        assert refused.status in (1, 2), refused
        assert word in refused.err
        assert "config.toml" in refused.err
        assert before.changed(Residue(phone.phone)) == []
    finally:
        network.close()


def test_a_small_subnet_has_room_for_few(phone: PhoneLab, tmp_path: Path, busybox_base: Path) -> None:
    phone.connect("wifi")
    network = Network(phone, tmp_path, busybox_base, config='subnet = "10.77.0.0/29"')
    try:
        found = {network.run(f"c{number}").address4 for number in range(5)}
        assert found == {f"10.77.0.{number}" for number in range(2, 7)}
        before = Residue(phone.phone)
        network.create("more")
        refused = network.nspawn("start", "more")
        assert refused.status == 1, refused
        assert "subnet" in refused.err
        assert before.changed(Residue(phone.phone)) == []
    finally:
        network.close()
