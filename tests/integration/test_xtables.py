"""Our chains in the kernel, by iptables-legacy and iptables-nft; looked at with iptables-save, and used."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.errors import Busy, NspawnError, Unsupported
from nspawn.kernel import iptlegacy, iptnft, xtables
from nspawn.kernel.xtables import Done
from nspawn.model import chains, firewall
from nspawn.model.chains import Seen
from nspawn.model.firewall import Features
from nspawn.model.netplan import FirewallInput, Local, Mark, Proxy, Published
from tests.support import veths
from tests.support.veths import BRIDGE, DATABASE, GATEWAY, LOCALHOST, NEIGHBOUR, PHONE, SUBNET, WEB, Lab, sh

BASE = FirewallInput((BRIDGE,), SUBNET[4], SUBNET[6], GATEWAY[4], GATEWAY[6], ipv6="nat", page=8080)
WANTED = BASE._replace(
    marks=(Mark(3, "wlan0", "wlan0"),),
    locals=(Local(4, PHONE[4], "wlan0"), Local(6, PHONE[6], "wlan0")),
    published=(
        Published("8000:80/tcp", WEB[4], WEB[6]),
        Published("8080:80/tcp", WEB[4], WEB[6]),
        Published("5000-5003:6000/udp", WEB[4], WEB[6]),
        Published("7000-7100:7000/tcp", WEB[4], WEB[6]),
        Published(f"{PHONE[4]}:9000:80/tcp", WEB[4], WEB[6]),
        Published("53:53/udp", DATABASE[4], DATABASE[6]),
    ),
)
FOREIGN = """\
*filter
:fw_FORWARD - [0:0]
-A FORWARD -j fw_FORWARD
-A fw_FORWARD -p tcp -m tcp --dport 25 -j DROP
-A INPUT -i lo -j ACCEPT
COMMIT
*nat
:oem_nat_pre - [0:0]
-A PREROUTING -j oem_nat_pre
-A POSTROUTING -o tun9 -j MASQUERADE
COMMIT
*mangle
-A PREROUTING -i tun9 -j MARK --set-xmark 0x1/0x1
COMMIT
*raw
-A PREROUTING -i tun9 -j ACCEPT
COMMIT
"""


class Firewall:
    """One variant of iptables: its tools by family."""

    def __init__(self, variant: str, folder: Path) -> None:
        self.variant = variant
        self.lock = folder / "xtables.lock"
        for name in ("iptables", "ip6tables"):
            for end in ("", "-restore", "-save"):
                (folder / f"{name}{end}").symlink_to(f"/usr/sbin/{name}-{variant}{end}")
        self.environ = {"PATH": f"{folder}:/usr/sbin:/usr/bin", "XTABLES_LOCKFILE": str(self.lock)}
        self.tools = {family: xtables.find(self.environ, family) for family in (4, 6)}
        self.folder = folder

    def program(self, family: int, end: str = "") -> str:
        return f"{self.folder}/{'iptables' if family == 4 else 'ip6tables'}{end}"

    def save(self, family: int) -> str:
        """Without comments, and without the counters of built-in chains, which traffic moves."""
        text = sh(self.program(family, "-save"))
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return "\n".join(re.sub(r"\[\d+:\d+\]", "", line) for line in lines)

    def restore(self, family: int, text: str) -> None:
        command = [self.program(family, "-restore"), "--noflush"]
        subprocess.run(command, input=text, text=True, check=True, timeout=20)

    def reconcile(self, wanted: FirewallInput, applied: str = "", family: int = 4) -> Done:
        tool = self.tools[family]
        return xtables.reconcile(tool, wanted, xtables.features(tool), applied)


@pytest.fixture(params=["legacy", "nft"])
def fire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firewall]:
    """In a network namespace of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with veths.namespaces("fw-alone"), veths.inside("fw-alone"):
        yield Firewall(request.param, folder)


def rules_of(text: str) -> set[str]:
    return {line for line in text.splitlines() if "NSPAWN" in line}


@pytest.mark.parametrize("family", [4, 6])
def test_all_chains_are_made_and_a_second_run_changes_nothing(fire: Firewall, family: int) -> None:
    done = fire.reconcile(WANTED, family=family)
    saved = fire.save(family)
    wanted = firewall.tables(family, WANTED, Features())
    for table, made in wanted.items():
        part = saved.partition(f"*{table}\n")[2].partition("COMMIT")[0]
        for chain, rules in made.items():
            there = [line for line in part.splitlines() if line.startswith(f"-A {chain} ")]
            if chain.startswith(chains.PREFIX):
                assert len(there) == len(rules)
            else:
                assert there == [f"-A {chain} {rule}" for rule in rules]
    again = fire.reconcile(WANTED, done.digest, family)
    assert (again.text, again.digest) == ("", done.digest)
    assert fire.save(family) == saved


@pytest.mark.parametrize("family", [4, 6])
def test_what_the_kernel_tells_is_what_iptables_save_tells(fire: Firewall, family: int) -> None:
    fire.restore(family, FOREIGN)
    tool = fire.tools[family]
    assert xtables.observe(tool) == chains.parse_save(sh(fire.program(family, "-save"))) == {}
    fire.reconcile(WANTED, family=family)
    for command in (
        "-t nat -A PREROUTING -j NSPAWN-PRE",
        "-t nat -A PREROUTING -i wlan+ -j NSPAWN-PRE",
        "-t nat -A PREROUTING ! -i wlan+ -j NSPAWN-PRE",
        "-t nat -A PREROUTING -i wlan0 -p tcp -j NSPAWN-PRE",
        "-I FORWARD -p tcp -j NSPAWN-FROM",
        "-A FORWARD -i wlan0 -o wlan1 -j NSPAWN-TO",
        "-A fw_FORWARD -j NSPAWN-FROM",
        "-t mangle -I PREROUTING 1 -m mark --mark 7 -j ACCEPT",
        "-t raw -F PREROUTING",
    ):
        sh(f"{fire.program(family)} {command}")
    seen = xtables.observe(tool)
    assert seen == chains.parse_save(sh(fire.program(family, "-save")))
    assert seen["nat"].jumps["PREROUTING"] == (
        (1, "-j NSPAWN-PRE"),
        (3, "-j NSPAWN-PRE"),
        (4, "-i wlan+ -j NSPAWN-PRE"),
    )
    assert "NSPAWN-PRE" in seen["nat"].held
    assert seen["filter"].jumps["FORWARD"] == (
        (2, f"-i {BRIDGE} -j NSPAWN-FROM"),
        (3, f"-o {BRIDGE} -j NSPAWN-TO"),
    )
    assert seen["filter"].held == {"NSPAWN-FROM", "NSPAWN-TO"}
    assert seen["mangle"].jumps["PREROUTING"] == ((2, f"-i {BRIDGE} -j NSPAWN-REPLY"),)
    assert seen["raw"] == Seen({"NSPAWN-GUARD": 2})


@pytest.mark.parametrize(
    "damage",
    [
        ["-t nat -F PREROUTING"],
        ["-t nat -F NSPAWN-DNAT"],
        ["-t nat -D NSPAWN-DNAT 2"],
        ["-t raw -F", "-t raw -X"],
        ["-I FORWARD -p tcp --dport 25 -j DROP"],
        ["-A FORWARD -j NSPAWN-FROM"],
        [f"-A FORWARD -o {BRIDGE} -j NSPAWN-TO"],
        [f"-D FORWARD -o {BRIDGE} -j NSPAWN-TO"],
        [
            f"-D FORWARD -i {BRIDGE} -j NSPAWN-FROM",
            f"-I FORWARD 2 -i {BRIDGE} -j NSPAWN-FROM",
        ],
        ["-D FORWARD 1", "-I FORWARD -j NSPAWN-FROM"],
        ["-D FORWARD 1", "-I FORWARD -i nspawn_br -j NSPAWN-FROM"],
        ["-D FORWARD 1", "-I FORWARD -i nspawn_br+ -j NSPAWN-FROM"],
        [
            "-t mangle -D PREROUTING 1",
            "-t mangle -A PREROUTING -i tun9 -j ACCEPT",
            f"-t mangle -A PREROUTING -i {BRIDGE} -j NSPAWN-REPLY",
        ],
        ["-F", "-X", "-t nat -F", "-t nat -X", "-t mangle -F", "-t mangle -X"],
        ["-N NSPAWN-OLD", "-A INPUT -j NSPAWN-OLD", "-A NSPAWN-OLD -j RETURN"],
    ],
    ids=lambda commands: commands[0],
)
def test_damage_is_seen_and_repaired(fire: Firewall, damage: list[str]) -> None:
    """Others flush when they start, and put their own rules before ours."""
    done = fire.reconcile(WANTED)
    before = rules_of(fire.save(4))
    for command in damage:
        sh(f"{fire.program(4)} {command}")
    repaired = fire.reconcile(WANTED, done.digest)
    assert repaired.text
    assert rules_of(fire.save(4)) == before
    assert fire.reconcile(WANTED, done.digest).text == ""


def test_only_tables_that_differ_are_written(fire: Firewall) -> None:
    done = fire.reconcile(BASE)
    more = fire.reconcile(BASE._replace(locals=WANTED.locals, published=WANTED.published), done.digest)
    assert [line for line in more.text.splitlines() if line.startswith("*")] == ["*nat"]
    less = fire.reconcile(BASE, more.digest)
    assert "-X NSPAWN-DNAT" in less.text
    assert "NSPAWN-DNAT" not in fire.save(4)


@pytest.mark.parametrize("family", [4, 6])
def test_chains_of_a_version_before_are_replaced(fire: Firewall, family: int) -> None:
    """An update does not take the network down: its jumps had no interface, its chains other names."""
    fire.restore(family, FOREIGN)
    before = fire.save(family)
    fire.restore(
        family,
        "*filter\n:NSPAWN-FORWARD - [0:0]\n:NSPAWN-INPUT - [0:0]\n"
        "-I FORWARD 1 -j NSPAWN-FORWARD\n-I INPUT 1 -j NSPAWN-INPUT\n-A NSPAWN-FORWARD -j ACCEPT\nCOMMIT\n"
        "*mangle\n:NSPAWN-TRANSIT - [0:0]\n-I FORWARD 1 -j NSPAWN-TRANSIT\n"
        "-A NSPAWN-TRANSIT -j RETURN\nCOMMIT\n",
    )
    done = fire.reconcile(WANTED, family=family)
    saved = fire.save(family)
    assert "NSPAWN-FORWARD" not in saved
    assert "NSPAWN-TRANSIT" not in saved
    assert saved.count("NSPAWN-INPUT\n") == 1
    assert fire.reconcile(WANTED, done.digest, family).text == ""
    xtables.remove(fire.tools[family])
    assert fire.save(family) == before


@pytest.mark.parametrize("family", [4, 6])
def test_point_to_point_is_one_jump_for_all_containers(fire: Firewall, family: int) -> None:
    points = WANTED._replace(inner=("nsp+",))
    done = fire.reconcile(points, family=family)
    assert "-A FORWARD -i nsp+ -j NSPAWN-FROM" in fire.save(family)
    assert fire.reconcile(points, done.digest, family).text == ""
    fire.reconcile(WANTED, done.digest, family)
    assert "nsp+" not in fire.save(family)


@pytest.mark.parametrize("family", [4, 6])
def test_removing_leaves_everything_else_as_it_was(fire: Firewall, family: int) -> None:
    fire.restore(family, FOREIGN)
    before = fire.save(family)
    fire.reconcile(WANTED, family=family)
    xtables.remove(fire.tools[family])
    assert fire.save(family) == before
    assert xtables.remove(fire.tools[family]) == ""


@pytest.mark.parametrize(
    "damage",
    [
        "-t nat -D PREROUTING -j NSPAWN-PRE",
        "-t nat -A POSTROUTING -j NSPAWN-POST",
        "-t raw -D PREROUTING 1",
        "-F NSPAWN-INPUT",
    ],
)
def test_removing_works_when_only_parts_are_there(fire: Firewall, damage: str) -> None:
    fire.restore(4, FOREIGN)
    before = fire.save(4)
    fire.reconcile(WANTED)
    sh(f"{fire.program(4)} {damage}")
    xtables.remove(fire.tools[4])
    assert fire.save(4) == before


def test_a_chain_of_ours_that_others_use_is_emptied_and_kept(fire: Firewall) -> None:
    fire.reconcile(WANTED)
    sh(f"{fire.program(4)} -A OUTPUT -p tcp -o lo -j NSPAWN-TO")
    xtables.remove(fire.tools[4])
    assert rules_of(fire.save(4)) == {":NSPAWN-TO - ", "-A OUTPUT -o lo -p tcp -j NSPAWN-TO"}


def test_tables_that_only_we_made_go_with_us(fire: Firewall) -> None:
    """Of nf_tables; a legacy table stays, empty, once anybody has asked for it."""
    before = xtables.in_use(fire.tools[4])
    fire.reconcile(WANTED)
    xtables.remove(fire.tools[4], before)
    assert "NSPAWN" not in fire.save(4)
    if fire.variant == "nft":
        assert sh("nft list ruleset") == ""
        fire.restore(4, "*nat\n-A POSTROUTING -o tun9 -j MASQUERADE\nCOMMIT\n")
        fire.reconcile(WANTED)
        xtables.remove(fire.tools[4])
        assert {line.split()[2] for line in sh("nft list tables").splitlines()} == {
            "raw",
            "filter",
            "mangle",
            "nat",
        }
        xtables.remove(fire.tools[4], {"nat"})
        assert sh("nft list tables") == "table ip nat\n"


def test_a_try_of_what_the_kernel_has_leaves_nothing(fire: Firewall) -> None:
    for family in (4, 6):
        assert xtables.features(fire.tools[family]) == Features()
        assert xtables.observe(fire.tools[family]) == {}
        assert iptnft.usable_hooks(family) == {"filter": True, "nat": True, "route": True}
        assert not iptnft.has_extension(family, "nosuch", target=True)
        assert not iptlegacy.has_extension(family, "nosuch", target=False)
        assert not iptlegacy.has_table(family, "nosuch")
    assert sh("nft list ruleset") == ""


@pytest.mark.parametrize("fire", ["legacy"], indirect=True)  # iptables-nft has no lock
def test_a_lock_that_is_held_for_a_while_is_waited_for(fire: Firewall) -> None:
    holder = subprocess.Popen(
        ["flock", str(fire.lock), "sh", "-c", "echo held; sleep 0.5"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        fire.reconcile(WANTED)
    assert rules_of(fire.save(4))


@pytest.mark.parametrize("fire", ["legacy"], indirect=True)  # iptables-nft has no lock
def test_a_lock_that_is_never_given_back_is_told(fire: Firewall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xtables, "LOCK_SECONDS", 1)
    holder = subprocess.Popen(
        ["flock", str(fire.lock), "sh", "-c", "echo held; read end"], stdin=-1, stdout=-1
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match="held the lock of iptables for 1 s"):
            fire.reconcile(WANTED)
        holder.communicate(b"\n")
    assert not rules_of(fire.save(4))


def test_a_change_between_looking_and_writing_costs_one_more_run(
    fire: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fire.reconcile(WANTED)
    stale = xtables.observe(fire.tools[4])
    stale["filter"] = stale["filter"]._replace(jumps={"INPUT": ((2, f"-i {BRIDGE} -j NSPAWN-INPUT"),)})
    sh(f"{fire.program(4)} -F INPUT")
    look, given = xtables.observe, [stale]
    monkeypatch.setattr(xtables, "observe", lambda tool: given.pop() if given else look(tool))
    fire.reconcile(WANTED, done.digest)
    assert fire.save(4).count(f"-A INPUT -i {BRIDGE} -j NSPAWN-INPUT") == 1


def test_a_refused_line_is_told_and_nothing_of_its_table_is_there(fire: Firewall) -> None:
    wrong = WANTED._replace(published=(Published("80:80/tcp", "10.11.0.999", ""),))
    with pytest.raises(NspawnError, match=r"line: \d+ \(-A NSPAWN-DNAT") as caught:
        fire.reconcile(wrong)
    assert caught.value.hint.startswith("To see it again: iptables -w -t nat -A NSPAWN-DNAT -p tcp")
    assert "NSPAWN-DNAT" not in fire.save(4)
    with pytest.raises(NspawnError):
        xtables.apply(fire.tools[4], "*nosuch\nCOMMIT\n")


def test_iptables_save_is_asked_where_the_kernel_does_not_tell(
    fire: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fire.reconcile(WANTED)

    def refuse(family: int) -> dict[str, Seen]:
        raise PermissionError(1, "no")

    monkeypatch.setattr(iptlegacy, "observe", refuse)
    monkeypatch.setattr(iptnft, "observe", refuse)
    assert fire.reconcile(WANTED, done.digest).text == ""
    sh(f"{fire.program(4)} -t nat -D NSPAWN-DNAT 2")
    assert fire.reconcile(WANTED, done.digest).text


def test_ip6tables_without_nat_costs_ipv6_its_forwards_only(
    fire: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on each stock phone since Android 11."""
    has_table = iptlegacy.has_table
    monkeypatch.setattr(
        iptlegacy, "has_table", lambda family, name: name != "nat" and has_table(family, name)
    )
    monkeypatch.setattr(iptnft, "in_use", lambda _: frozenset())
    usable = {"filter": True, "nat": False, "route": True}
    monkeypatch.setattr(iptnft, "usable_hooks", lambda _: usable)
    assert xtables.features(fire.tools[6]) == Features(nat=False)
    fire.reconcile(WANTED._replace(ipv6="none"), family=6)
    saved = fire.save(6)
    assert "NSPAWN-FROM" in saved
    assert "*nat" not in saved


def test_thousands_of_ports_are_one_change(fire: Firewall) -> None:
    many = WANTED._replace(published=(Published("20000-21023:30000/tcp", WEB[4], WEB[6]),) * 2)
    done = fire.reconcile(many)
    assert xtables.observe(fire.tools[4])["nat"].chains["NSPAWN-DNAT"] == 2048
    assert fire.reconcile(many, done.digest).text == ""


def test_a_machine_without_iptables_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xtables, "_SBIN", "")
    with pytest.raises(Unsupported, match="no iptables-restore"):
        xtables.find({"PATH": str(tmp_path)}, 4)
    android = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "NSPAWN_PHONE": str(tmp_path)}
    with pytest.raises(Unsupported, match="no ip6tables-restore"):
        xtables.find(android, 6)


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_wrapper_is_asked_what_it_is(variant: str, tmp_path: Path) -> None:
    wrapper = tmp_path / "iptables-restore"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/sbin/iptables-{variant}-restore "$@"\n')
    wrapper.chmod(0o755)
    tool = xtables.find({"PATH": f"{tmp_path}:/usr/bin"}, 4)
    assert (tool.path, tool.nft) == (str(wrapper), variant == "nft")


# From here on: what the rules do.


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with veths.lab() as found:
        yield found


@pytest.fixture(scope="module", params=["legacy", "nft"])
def built(
    request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Firewall]:
    with veths.inside(lab.phone):
        found = Firewall(request.param, tmp_path_factory.mktemp(f"bin-{request.param}"))
    yield found
    with veths.inside(lab.phone):
        for family in (4, 6):
            xtables.remove(found.tools[family])


def use(lab: Lab, built: Firewall, wanted: FirewallInput = WANTED, has: Features | None = None) -> None:
    with veths.inside(lab.phone):
        for family in (4, 6):
            xtables.reconcile(built.tools[family], wanted, has or Features(), "")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_forward_is_reached_from_everywhere(lab: Lab, built: Firewall, family: int, kind: str) -> None:
    use(lab, built)
    inner, outer = (80, 8000) if kind == "tcp" else (6002, 5002)
    with veths.listening(lab.web, family, WEB[family], inner, kind) as server:
        reached = {
            "lan": veths.visit(lab.neighbour, server, PHONE[family], outer),
            "localhost": veths.visit(lab.phone, server, LOCALHOST[family], outer),
            "own address": veths.visit(lab.phone, server, PHONE[family], outer),
            "gateway from the phone": veths.visit(lab.phone, server, GATEWAY[family], outer),
            "other container": veths.visit(lab.database, server, PHONE[family], outer),
            "other container by the gateway": veths.visit(lab.database, server, GATEWAY[family], outer),
            "itself": veths.visit(lab.web, server, PHONE[family], outer),
        }
    gateway = GATEWAY[family]
    assert reached == {
        "lan": NEIGHBOUR[family],  # who comes from outside is told by the true address
        "localhost": gateway,
        "own address": PHONE[family],
        "gateway from the phone": gateway,
        "other container": gateway,
        "other container by the gateway": gateway,
        "itself": gateway,
    }


def test_other_containers_reach_a_forward_where_bridges_are_filtered(lab: Lab, built: Firewall) -> None:
    """With br_netfilter all of it happens on the bridge's port, and a container does not reach itself."""
    use(lab, built)
    lab.bridge_filter(on=True)
    try:
        for family in (4, 6):
            with veths.listening(lab.web, family, WEB[family], 80) as server:
                assert veths.visit(lab.database, server, PHONE[family], 8000)
                assert veths.visit(lab.neighbour, server, PHONE[family], 8000) == NEIGHBOUR[family]
                assert veths.visit(lab.database, server, WEB[family], 80) == DATABASE[family]
    finally:
        lab.bridge_filter(on=False)


def test_a_forward_of_one_address_is_reached_by_it_alone(lab: Lab, built: Firewall) -> None:
    use(lab, built)
    with veths.listening(lab.web, 4, WEB[4], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[4], 9000) == NEIGHBOUR[4]
        assert veths.visit(lab.phone, server, LOCALHOST[4], 9000, seconds=0.3) == ""
    with veths.listening(lab.web, 6, WEB[6], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[6], 9000, seconds=0.3) == ""


@pytest.mark.parametrize("family", [4, 6])
def test_the_page_keeps_its_port_at_localhost_only(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    with (
        veths.listening(lab.phone, family, LOCALHOST[family], 8080) as page,
        veths.listening(lab.web, family, WEB[family], 80) as server,
    ):
        assert veths.visit(lab.phone, page, LOCALHOST[family], 8080) == LOCALHOST[family]
        assert veths.visit(lab.neighbour, server, PHONE[family], 8080) == NEIGHBOUR[family]


@pytest.mark.parametrize(
    "has",
    [Features(), Features(raw=False), Features(raw=False, mangle=False)],
    ids=["raw", "mangle", "filter"],
)
def test_containers_reach_neither_the_loopback_nor_the_page(lab: Lab, built: Firewall, has: Features) -> None:
    use(lab, built, has=has)
    sh(f"ip -n {lab.web} link set lo down")
    sh(f"ip -n {lab.web} address flush dev lo")
    sh(f"ip -n {lab.web} route add 127.0.0.0/8 via {GATEWAY[4]} table local")
    sh(f"ip -n {lab.web} -6 route add ::1 via {GATEWAY[6]} table local", allowed=True)
    with veths.inside(lab.web):
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
    try:
        for port in (8080, 631):
            for kind in ("tcp", "udp"):
                with veths.listening(lab.phone, 4, LOCALHOST[4], port, kind) as server:
                    assert veths.visit(lab.web, server, LOCALHOST[4], port, seconds=0.3, source=WEB[4]) == ""
                    assert veths.visit(lab.web, server, GATEWAY[4], port, seconds=0.3) == ""
        with veths.listening(lab.phone, 6, LOCALHOST[6], 631) as server:
            assert veths.visit(lab.web, server, LOCALHOST[6], 631, seconds=0.3) == ""
        # The forwards of the machine's own loopback work with each of them.
        with veths.listening(lab.database, 4, DATABASE[4], 80) as server:
            mine = WANTED._replace(published=(Published("8000:80/tcp", DATABASE[4], DATABASE[6]),))
            use(lab, built, mine, has)
            assert veths.visit(lab.phone, server, LOCALHOST[4], 8000) == GATEWAY[4]
    finally:
        sh(f"ip -n {lab.web} route del 127.0.0.0/8 table local")
        sh(f"ip -n {lab.web} link set lo up")
        sh(f"ip -n {lab.web} address add 127.0.0.1/8 dev lo", allowed=True)
        sh(f"ip -n {lab.web} address add ::1/128 dev lo", allowed=True)


def test_without_the_guard_a_container_does_reach_the_loopback(lab: Lab, built: Firewall) -> None:
    """That the test before tests something."""
    with veths.inside(lab.phone):
        xtables.remove(built.tools[4])
    sh(f"ip -n {lab.web} address flush dev lo")
    sh(f"ip -n {lab.web} route add 127.0.0.0/8 via {GATEWAY[4]} table local")
    with veths.inside(lab.web):
        Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
    try:
        with veths.listening(lab.phone, 4, LOCALHOST[4], 631) as server:
            assert veths.visit(lab.web, server, LOCALHOST[4], 631, source=WEB[4]) == WEB[4]
    finally:
        sh(f"ip -n {lab.web} route del 127.0.0.0/8 table local")
        sh(f"ip -n {lab.web} address add 127.0.0.1/8 dev lo")
        sh(f"ip -n {lab.web} address add ::1/128 dev lo", allowed=True)


def test_the_page_can_be_allowed_to_containers(lab: Lab, built: Firewall) -> None:
    use(lab, built, WANTED._replace(allow_page=True, published=()))
    with veths.listening(lab.phone, 4, LOCALHOST[4], 8080) as page:
        assert veths.visit(lab.web, page, GATEWAY[4], 8080) == WEB[4]
        assert veths.visit(lab.neighbour, page, PHONE[4], 8080, seconds=0.3) == ""


@pytest.mark.parametrize("family", [4, 6])
def test_who_routes_to_the_containers_is_not_let_in(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    sh(f"ip -n {lab.neighbour} -{family} route add {SUBNET[family]} via {PHONE[family]}")
    try:
        with veths.listening(lab.web, family, WEB[family], 80) as server:
            assert veths.visit(lab.neighbour, server, WEB[family], 80, seconds=0.3) == ""
            assert veths.visit(lab.phone, server, WEB[family], 80) == GATEWAY[family]
            assert veths.visit(lab.database, server, WEB[family], 80) == DATABASE[family]
    finally:
        sh(f"ip -n {lab.neighbour} -{family} route del {SUBNET[family]}")


@pytest.mark.parametrize("family", [4, 6])
def test_containers_leave_with_the_address_of_the_uplink(lab: Lab, built: Firewall, family: int) -> None:
    use(lab, built)
    with veths.listening(lab.neighbour, family, NEIGHBOUR[family], 80) as server:
        assert veths.visit(lab.web, server, NEIGHBOUR[family], 80) == PHONE[family]


def test_an_address_of_the_network_is_let_through_untranslated(lab: Lab, built: Firewall) -> None:
    """Proxy NDP: in both directions; the others have no IPv6 outside."""
    address = "2001:db8:77::70"
    proxied = WANTED._replace(ipv6="proxy", proxied=(Proxy(address, "wlan0"),))
    use(lab, built, proxied, Features(nat=False))
    sh(f"ip -n {lab.web} address add {address}/128 dev eth0 nodad")
    sh(f"ip -n {lab.phone} route add {address}/128 dev {BRIDGE}")
    sh(f"ip -n {lab.phone} neighbour add proxy {address} dev wlan0")
    with veths.inside(lab.phone):
        Path("/proc/sys/net/ipv6/conf/wlan0/proxy_ndp").write_text("1")
    try:
        with veths.listening(lab.web, 6, address, 80) as server:
            assert veths.visit(lab.neighbour, server, address, 80) == NEIGHBOUR[6]
        with veths.listening(lab.neighbour, 6, NEIGHBOUR[6], 80) as server:
            assert veths.visit(lab.web, server, NEIGHBOUR[6], 80, source=address) == address
            assert veths.visit(lab.database, server, NEIGHBOUR[6], 80, seconds=0.3) == ""
    finally:
        sh(f"ip -n {lab.web} address del {address}/128 dev eth0")
        sh(f"ip -n {lab.phone} route del {address}/128 dev {BRIDGE}")
        sh(f"ip -n {lab.phone} neighbour del proxy {address} dev wlan0")


@pytest.mark.parametrize("family", [4, 6])
def test_containers_ask_our_name_server_whatever_is_forwarded(lab: Lab, built: Firewall, family: int) -> None:
    """Port 53 leads to a container, but at the gateway it is ours, and a closed INPUT lets it in."""
    use(lab, built)
    tool = built.program(family)
    with veths.inside(lab.phone):
        sh(f"{tool} -A INPUT -i {BRIDGE} -j DROP")
    try:
        with (
            veths.listening(lab.phone, family, GATEWAY[family], 53, "udp") as server,
            veths.listening(lab.database, family, DATABASE[family], 53, "udp") as other,
        ):
            assert veths.visit(lab.web, server, GATEWAY[family], 53) == WEB[family]
            assert veths.visit(lab.neighbour, other, PHONE[family], 53) == NEIGHBOUR[family]
        assert veths.ping(lab.web, family, GATEWAY[family])
    finally:
        with veths.inside(lab.phone):
            sh(f"{tool} -D INPUT -i {BRIDGE} -j DROP")


@pytest.mark.parametrize("family", [4, 6])
def test_a_connection_remembers_by_which_uplink_it_came(lab: Lab, built: Firewall, family: int) -> None:
    """And the container's packets carry that mark: here into a table that leads nowhere."""
    use(lab, built)
    rule = f"ip -n {lab.phone} -{family} rule"
    with veths.listening(lab.web, family, WEB[family], 80) as server:
        assert veths.visit(lab.neighbour, server, PHONE[family], 8000) == NEIGHBOUR[family]
        found = sh(f"ip netns exec {lab.phone} conntrack -L -f ipv{family} -p tcp --orig-dst {PHONE[family]}")
        assert f"mark={3 << 21} " in found
        sh(f"{rule} add pref 100 iif {BRIDGE} fwmark {3 << 21:#x}/0x1e00000 unreachable")
        try:
            assert veths.visit(lab.neighbour, server, PHONE[family], 8000, seconds=0.3) == ""
        finally:
            sh(f"{rule} del pref 100")
    with veths.listening(lab.neighbour, family, NEIGHBOUR[family], 80) as server:
        assert veths.visit(lab.web, server, NEIGHBOUR[family], 80) == PHONE[family]
