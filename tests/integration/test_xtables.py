"""Our chains in the kernel, by iptables-legacy and iptables-nft; looked at with iptables-save."""

from __future__ import annotations

import pytest

from nspawn.errors import NspawnError
from nspawn.kernel import xtables
from nspawn.model import chains, firewall
from nspawn.model.firewall import Features
from nspawn.model.netplan import Published
from tests.support.veths import BRIDGE, WEB, sh
from tests.support.xtablesbox import BASE, FOREIGN, WANTED, Firewall, rules_of


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
        "-D INPUT 1",
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
    assert "INPUT" not in seen["filter"].jumps
    assert seen["filter"].chains["NSPAWN-INPUT"] > 2


@pytest.mark.parametrize(
    "damage",
    [
        ["-t nat -F PREROUTING"],
        ["-t nat -F NSPAWN-DNAT"],
        ["-t nat -D NSPAWN-DNAT 2"],
        ["-F INPUT", "-F NSPAWN-INPUT"],
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
        "-t mangle -D PREROUTING 1",
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
            "filter",
            "mangle",
            "nat",
        }
        xtables.remove(fire.tools[4], {"nat"})
        assert sh("nft list tables") == "table ip nat\n"


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


def test_thousands_of_ports_are_one_change(fire: Firewall) -> None:
    many = WANTED._replace(published=(Published("20000-21023:30000/tcp", WEB[4], WEB[6]),) * 2)
    done = fire.reconcile(many)
    assert xtables.observe(fire.tools[4])["nat"].chains["NSPAWN-DNAT"] == 2048
    assert fire.reconcile(many, done.digest).text == ""
