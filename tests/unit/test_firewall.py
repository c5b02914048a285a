"""The firewall's rules as tables, and the text that leads from what is there to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspawn.kernel import xtables
from nspawn.kernel.xtables import Tool
from nspawn.model import chains, firewall
from nspawn.model.chains import Seen
from nspawn.model.firewall import Features
from nspawn.model.forwards import parse_publish
from nspawn.model.netplan import FirewallInput, Local, Mark, Proxy, Published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.model.firewall import Tables

BR = "nspawn_br1"
CLAMP = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
BASE = FirewallInput((BR,), "10.11.0.0/24", "fd11::/64", "10.11.0.1", "fd11::1", ipv6="nat", page=8080)
LOCALS = (Local(4, "192.168.1.5", "wlan0"), Local(6, "2001:db8::5", "wlan0"), Local(6, "fe80::5", "wlan0"))


def rules(family: int, wanted: FirewallInput, features: Features | None = None) -> list[str]:
    made = firewall.tables(family, wanted, features or Features())
    return [
        f"{table} {chain} {rule}" for table in made for chain in made[table] for rule in made[table][chain]
    ]


def published(*texts: str) -> FirewallInput:
    return BASE._replace(
        locals=LOCALS, published=tuple(Published(text, "10.11.0.2", "fd11::2") for text in texts)
    )


def test_the_rules_without_any_forward() -> None:
    est = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    assert rules(4, BASE) == [
        "raw PREROUTING -i nspawn_br1 -j NSPAWN-GUARD",
        "raw NSPAWN-GUARD -s 127.0.0.0/8 -j DROP",
        "raw NSPAWN-GUARD -d 127.0.0.0/8 -j DROP",
        "filter INPUT -i nspawn_br1 -j NSPAWN-INPUT",
        "filter FORWARD -i nspawn_br1 -j NSPAWN-FROM",
        "filter FORWARD -o nspawn_br1 -j NSPAWN-TO",
        f"filter NSPAWN-INPUT {est}",
        "filter NSPAWN-INPUT -d 10.11.0.1 -p udp -m udp --dport 53 -j ACCEPT",
        "filter NSPAWN-INPUT -d 10.11.0.1 -p tcp -m tcp --dport 53 -j ACCEPT",
        "filter NSPAWN-INPUT -p icmp -j ACCEPT",
        f"filter NSPAWN-FROM {CLAMP}",
        f"filter NSPAWN-FROM {est}",
        "filter NSPAWN-FROM -o nspawn_br1 -j ACCEPT",
        "filter NSPAWN-FROM -m conntrack --ctstate INVALID -j DROP",
        "filter NSPAWN-FROM -j ACCEPT",
        f"filter NSPAWN-TO {CLAMP}",
        f"filter NSPAWN-TO {est}",
        "filter NSPAWN-TO -m conntrack --ctstate DNAT -j ACCEPT",
        "filter NSPAWN-TO -j DROP",
        "nat POSTROUTING -j NSPAWN-POST",
        "nat NSPAWN-POST -s 10.11.0.0/24 -o nspawn_br1 -m conntrack --ctstate DNAT -j MASQUERADE",
        "nat NSPAWN-POST -s 127.0.0.0/8 -o nspawn_br1 -j MASQUERADE",
        "nat NSPAWN-POST -o nspawn_br1 -j RETURN",
        "nat NSPAWN-POST -s 10.11.0.0/24 -j MASQUERADE",
    ]


def matched(family: int, wanted: FirewallInput, way: str) -> list[str]:
    """What a packet of a connection is compared with on its way through; way: where our interface is."""
    made = firewall.tables(family, wanted, Features())
    found = []
    for table, builtin in (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("filter", "FORWARD")):
        for jump in made[table].get(builtin, ()):
            found.append(jump)
            if jump.startswith(f"{way} ") and (way == "-i" or builtin == "FORWARD"):
                chain = made[table][jump.rpartition(" ")[2]]
                last = [number for number, rule in enumerate(chain, 1) if "ESTABLISHED" in rule]
                found += chain[: last[0]] if last else chain
                break
    return found


def test_a_packet_of_a_connection_meets_few_rules() -> None:
    """Each rule costs throughput; the ways of new connections are longer."""
    wanted = published("80:80")._replace(marks=(Mark(1, "wlan0", "wlan0"), Mark(2, "rmnet0", "rmnet0")))
    for family in (4, 6):
        assert len(matched(family, wanted, "-i")) == 8
        assert len(matched(family, wanted, "-o")) == 6
        assert "mangle FORWARD" not in " ".join(rules(family, wanted))


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        ("8000:80", "-p tcp -m tcp --dport 8000 -j DNAT --to-destination 10.11.0.2:80", "[fd11::2]:80"),
        ("53:53/udp", "-p udp -m udp --dport 53 -j DNAT --to-destination 10.11.0.2", "fd11::2"),
        ("1-9:1", "-p tcp -m tcp --dport 1:9 -j DNAT --to-destination 10.11.0.2", "fd11::2"),
        (
            "192.168.1.5:80:80",
            "-d 192.168.1.5 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.11.0.2",
            "",
        ),
        ("0.0.0.0:80:80", "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.11.0.2", ""),
        ("[::1]:80:80", "", "fd11::2"),
        ("[::]:80:81", "", "[fd11::2]:81"),
    ],
)
def test_one_forward_is_one_rule(text: str, four: str, six: str) -> None:
    start = "nat NSPAWN-DNAT "
    found = [rule for rule in rules(4, published(text)) if rule.startswith(start)]
    assert found == ([start + four] if four else [])
    found = [rule.rpartition(" ")[2] for rule in rules(6, published(text)) if rule.startswith(start)]
    assert found == ([six] if six else [])


def test_a_shifted_range_is_a_rule_for_each_port() -> None:
    found = firewall.rules(parse_publish("1000-2023:3000"), "10.11.0.2")
    assert len(found) == 1024
    assert found[-1] == "-p tcp -m tcp --dport 2023 -j DNAT --to-destination 10.11.0.2:4023"


def test_forwards_are_reached_at_each_local_address_but_link_local_ones() -> None:
    four, six = rules(4, published("80:80")), rules(6, published("80:80"))
    assert [rule for rule in four if rule.endswith("-j NSPAWN-DNAT")] == [
        "nat NSPAWN-PRE -d 192.168.1.5 -j NSPAWN-DNAT",
        "nat NSPAWN-PRE -d 10.11.0.1 -j NSPAWN-DNAT",
        "nat NSPAWN-OUT -d 127.0.0.0/8 -j NSPAWN-DNAT",
        "nat NSPAWN-OUT -d 192.168.1.5 -j NSPAWN-DNAT",
        "nat NSPAWN-OUT -d 10.11.0.1 -j NSPAWN-DNAT",
    ]
    assert [rule for rule in six if rule.endswith("-j NSPAWN-DNAT") and "PRE" in rule] == [
        "nat NSPAWN-PRE -d 2001:db8::5 -j NSPAWN-DNAT",
        "nat NSPAWN-PRE -d fd11::1 -j NSPAWN-DNAT",
    ]


def test_the_marks_are_of_each_family_s_interface() -> None:
    wanted = published("80:80")._replace(marks=(Mark(1, "v4-rmnet0", "rmnet0"), Mark(15, "", "wlan0")))
    marked = [rule for rule in rules(4, wanted) if "CONNMARK" in rule]
    assert marked == [
        "filter NSPAWN-TO -i v4-rmnet0 -j CONNMARK --set-xmark 0x200000/0x1e00000",
        "mangle NSPAWN-REPLY -j CONNMARK --restore-mark --nfmask 0x1e00000 --ctmask 0x1e00000",
    ]
    chain = firewall.tables(4, wanted, Features())["filter"]["NSPAWN-TO"]
    at = chain.index(marked[0].partition("NSPAWN-TO ")[2])
    assert "ESTABLISHED" in chain[at - 1]
    assert "DNAT" in chain[at + 1]
    assert [rule.split()[3] for rule in rules(6, wanted) if "set-xmark" in rule] == ["rmnet0", "wlan0"]
    assert any(rule.endswith("0x1e00000/0x1e00000") for rule in rules(6, wanted))


def test_point_to_point_is_the_same_with_a_pattern() -> None:
    bridge, points = rules(4, published("80:80")), rules(4, published("80:80")._replace(inner=("nsp+",)))
    assert points == [rule.replace(BR, "nsp+") for rule in bridge]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("missing", Features._fields)
def test_without_one_feature_nothing_of_it_is_asked_for(family: int, missing: str) -> None:
    wanted = published("80:80", "1-3:5/udp")._replace(marks=(Mark(1, "wlan0", "wlan0"),))
    features = Features()._replace(**{missing: False})
    found = rules(family, wanted, features)
    words = {"conntrack": "conntrack", "connmark": "CONNMARK", "tcpmss": "TCPMSS"}
    assert not any(rule.startswith(f"{missing} ") or words.get(missing, "\0") in rule for rule in found)
    if missing != "filter":
        lo = "127.0.0.0/8" if family == 4 else "::1/128"
        assert any(rule.endswith(f" -d {lo} -j DROP") for rule in found)  # the guard is always somewhere
    noted = firewall.notes(family, features)
    assert len(noted) == ((missing, family) != ("raw", 6))
    assert all(note.why and "CONFIG_" in note.hint for note in noted)


def test_a_whole_kernel_is_not_worth_a_note() -> None:
    assert firewall.notes(4, Features()) == firewall.notes(6, Features()) == []


def test_ipv6_without_translation_goes_nowhere_but_from_global_addresses() -> None:
    closed = rules(6, BASE._replace(ipv6="none"))
    assert not any(rule.startswith("nat ") for rule in closed)
    assert "filter NSPAWN-FROM -j DROP" in closed
    proxied = rules(
        6, BASE._replace(ipv6="proxy", proxied=(Proxy("2001:db8::70", "wlan0"),)), Features(nat=False)
    )
    at = proxied.index("filter NSPAWN-FROM -j DROP")
    assert proxied.index("filter NSPAWN-FROM -s 2001:db8::70 -j ACCEPT") < at
    let_in = proxied.index("filter NSPAWN-TO -d 2001:db8::70 -j ACCEPT")
    assert let_in < proxied.index("filter NSPAWN-TO -j DROP")
    assert rules(6, BASE._replace(subnet6="")) == []


def test_an_allowed_page_is_reached_at_the_gateway_by_ipv4() -> None:
    found = rules(4, BASE._replace(allow_page=True))
    to = "--dport 8080 -j DNAT --to-destination 127.0.0.1:8080"
    assert f"nat NSPAWN-PRE -i {BR} -d 10.11.0.1 -p tcp -m tcp {to}" in found
    assert rules(6, BASE._replace(allow_page=True)) == rules(6, BASE)
    assert rules(4, BASE._replace(allow_page=True, page=0)) == rules(4, BASE._replace(page=0))


@pytest.mark.parametrize("family", [4, 6])
def test_names_of_chains_fit_old_kernels(family: int) -> None:
    made = firewall.tables(family, published("80:80")._replace(marks=(Mark(1, "a", "a"),)), Features())
    names = {chain for table in made.values() for chain in table if not chain.isupper() or "-" in chain}
    assert all(len(name) <= 28 and name.startswith(chains.PREFIX) for name in names)
    jumps = [
        rule for table in made.values() for chain in table if chain not in names for rule in table[chain]
    ]
    assert {jump.rpartition(" ")[2] for jump in jumps} == names - {"NSPAWN-DNAT"}


PRE = "-j NSPAWN-PRE"
WANTED: Tables = {
    "filter": {
        "FORWARD": ("-i br -j NSPAWN-FROM", "-o br -j NSPAWN-TO"),
        "NSPAWN-FROM": ("a", "b"),
        "NSPAWN-TO": ("c",),
    },
    "nat": {"PREROUTING": (PRE,), "NSPAWN-DNAT": ("d",), "NSPAWN-PRE": ("-j NSPAWN-DNAT",)},
}
PRESENT = {
    "filter": Seen(
        {"NSPAWN-FROM": 2, "NSPAWN-TO": 1},
        {"FORWARD": ((1, "-i br -j NSPAWN-FROM"), (2, "-o br -j NSPAWN-TO"))},
    ),
    "nat": Seen({"NSPAWN-DNAT": 1, "NSPAWN-PRE": 1}, {"PREROUTING": ((1, PRE),)}),
}


def test_from_nothing_everything_is_made() -> None:
    text, _ = chains.script(WANTED, {})
    assert text == (
        "*filter\n:NSPAWN-FROM - [0:0]\n:NSPAWN-TO - [0:0]\n"
        "-I FORWARD 1 -i br -j NSPAWN-FROM\n-I FORWARD 2 -o br -j NSPAWN-TO\n"
        "-A NSPAWN-FROM a\n-A NSPAWN-FROM b\n-A NSPAWN-TO c\nCOMMIT\n"
        "*nat\n:NSPAWN-DNAT - [0:0]\n:NSPAWN-PRE - [0:0]\n-I PREROUTING 1 -j NSPAWN-PRE\n"
        "-A NSPAWN-DNAT d\n-A NSPAWN-PRE -j NSPAWN-DNAT\nCOMMIT\n"
    )


def test_when_all_is_there_nothing_is_run() -> None:
    _, digest = chains.script(WANTED, {})
    assert chains.script(WANTED, PRESENT, digest) == ("", digest)
    assert chains.script({}, {}) == ("", "")


def test_without_a_digest_all_is_filled_anew_and_no_jump_moves() -> None:
    text, _ = chains.script(WANTED, PRESENT)
    assert text.count("COMMIT") == 2
    assert "\n-I" not in text
    assert "\n-D" not in text


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (
            PRESENT["nat"]._replace(jumps={"PREROUTING": ((2, PRE),)}),
            ["-D PREROUTING -j NSPAWN-PRE", "-I PREROUTING 1 -j NSPAWN-PRE"],
        ),
        (
            PRESENT["nat"]._replace(jumps={"PREROUTING": ((1, PRE), (3, PRE))}),
            ["-D PREROUTING -j NSPAWN-PRE", "-D PREROUTING -j NSPAWN-PRE", "-I PREROUTING 1 -j NSPAWN-PRE"],
        ),
        (
            PRESENT["nat"]._replace(
                jumps={"PREROUTING": ((1, PRE),), "OUTPUT": ((4, PRE),)},
            ),
            ["-D OUTPUT -j NSPAWN-PRE"],
        ),
        (  # of a program before ours, or of another bridge
            PRESENT["nat"]._replace(jumps={"PREROUTING": ((1, "-i old -j NSPAWN-PRE"), (2, PRE))}),
            [
                "-D PREROUTING -i old -j NSPAWN-PRE",
                "-D PREROUTING -j NSPAWN-PRE",
                "-I PREROUTING 1 -j NSPAWN-PRE",
            ],
        ),
        (Seen({"NSPAWN-DNAT": 1}), ["-I PREROUTING 1 -j NSPAWN-PRE"]),
        (
            PRESENT["nat"]._replace(
                chains={"NSPAWN-DNAT": 1, "NSPAWN-PRE": 1, "NSPAWN-OLD": 5, "NSPAWN-USED": 0},
                held=frozenset(("NSPAWN-USED",)),
            ),
            ["-F NSPAWN-OLD", "-F NSPAWN-USED", "-X NSPAWN-OLD"],
        ),
    ],
)
def test_what_differs_is_put_right(seen: Seen, lines: list[str]) -> None:
    _, digest = chains.script(WANTED, {})
    text, _ = chains.script(WANTED, {**PRESENT, "nat": seen}, digest)
    found = text.splitlines()
    assert found[0] == "*nat"
    assert [line for line in found if line[:2] in ("-D", "-I", "-F", "-X")] == lines
    assert found.count("COMMIT") == 1


def test_taking_down_names_only_what_is_there() -> None:
    assert chains.teardown({}) == ""
    assert chains.teardown({"nat": PRESENT["nat"]}) == (
        "*nat\n-D PREROUTING -j NSPAWN-PRE\n-F NSPAWN-DNAT\n-F NSPAWN-PRE\n"
        "-X NSPAWN-DNAT\n-X NSPAWN-PRE\nCOMMIT\n"
    )


def test_the_text_of_iptables_save_is_read() -> None:
    text = """\
# Generated by iptables-save
*nat
:PREROUTING ACCEPT [1:2]
:NSPAWN-PRE - [0:0]
:NSPAWN-DNAT - [0:0]
:other - [0:0]
-A PREROUTING -j other
-A PREROUTING -j NSPAWN-PRE
-A PREROUTING -i wlan0 -p tcp -j NSPAWN-PRE
-A PREROUTING ! -i wlan0 -j NSPAWN-PRE
-A PREROUTING -i nsp+ -j NSPAWN-PRE
-A NSPAWN-PRE -d 1.2.3.4/32 -j NSPAWN-DNAT
-A NSPAWN-DNAT -p tcp -j DNAT --to-destination 10.11.0.2
-A other -j NSPAWN-DNAT
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j ACCEPT
COMMIT
"""
    assert chains.parse_save(text) == {
        "nat": Seen(
            {"NSPAWN-PRE": 1, "NSPAWN-DNAT": 1},
            {"PREROUTING": ((2, PRE), (5, "-i nsp+ -j NSPAWN-PRE"))},
            frozenset(("NSPAWN-PRE", "NSPAWN-DNAT")),
        )
    }


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    chains.parse_save(f"*nat\n:NSPAWN-PRE - [0:0]\n{text}\nCOMMIT\n")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("iptables-restore: line 2 failed\n", "-A NSPAWN-PRE x"),
        (
            "iptables-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (No such file)\n",
            "-A",
        ),
        (
            "iptables-restore v1.6.1: Bad IP\n\nError occurred at line: 2\nTry `iptables-restore -h' ...\n",
            "-A",
        ),
    ],
)
def test_the_refused_line_is_found_in_what_each_version_says(said: str, line: str) -> None:
    tool = Tool(4, "/system/bin/iptables-restore", False, {})
    error = xtables._refusal(tool, "*nat\n-A NSPAWN-PRE x\nCOMMIT\n", 1, said)
    assert line in error.why
    assert error.hint == "To see it again: iptables -w -t nat -A NSPAWN-PRE x"
    assert "Try `" not in error.why


def test_a_refusal_without_a_line_is_told_as_it_is() -> None:
    tool = Tool(6, "ip6tables-restore", False, {})
    assert xtables._refusal(tool, "*nat\nCOMMIT\n", 3, "").why == "exit status 3"
    assert xtables._refusal(tool, "*nat\nCOMMIT\n", 1, "line 77 failed").why == "line 77 failed"
    assert "dmesg" in xtables._refusal(tool, "*nat\nCOMMIT\n", 1, "line 2 failed").hint
