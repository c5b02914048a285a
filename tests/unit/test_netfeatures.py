"""The doctor's rows on the network: on this machine, and on poorer ones."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nspawn.errors import Unsupported
from nspawn.kernel import xtables
from nspawn.kernel.rtnl import Rtnl
from nspawn.model.firewall import Features
from nspawn.service import netfeatures
from nspawn.service.features import Feature

NAMES = ["veth", "bridge", "policy routing", "iptables", "nat", "connmark", "conntrack match", "raw"]
NAMES += ["mss clamping", "nat6"]


def rows(environ: dict[str, str] | None = None) -> dict[str, Feature]:
    return {each.name: each for each in netfeatures.of_network(os.environ if environ is None else environ)}


@pytest.mark.skipif(os.geteuid() != 0, reason="the firewall is root's to see")
def test_every_row_is_told_and_what_is_missing_says_what_it_costs() -> None:
    found = rows()
    assert list(found) == NAMES
    assert all(each.how if each.have else each.why and each.cost for each in found.values())


def test_a_kernel_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_netlink: Rtnl) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Rtnl, "has_kind", lambda _netlink, _kind: False)
    monkeypatch.setattr(Rtnl, "rules", refuse)
    monkeypatch.setattr(xtables, "find", lambda _environ, family: xtables.Tool(family, "/x", False, {}))
    monkeypatch.setattr(xtables, "features", lambda _tool: Features(*[False] * 7))
    found = rows()
    assert [name for name, each in found.items() if each.have] == ["iptables"]
    assert "host's network only" in found["veth"].cost
    assert "CONFIG_IP6_NF_NAT" in found["nat6"].hint


def test_a_machine_without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_environ: object, _family: int) -> None:
        raise Unsupported("this machine has no iptables-restore", "it is needed", "Install it.")

    monkeypatch.setattr(xtables, "find", find)
    found = rows()
    assert (found["iptables"].have, found["iptables"].hint) == (False, "Install it.")
    assert "nat" not in found


def test_a_phone_without_its_programs_and_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfeatures, "_of_firewall", lambda _environ: [])
    phone = {"ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "NSPAWN_PHONE": str(tmp_path)}
    found = rows(phone)
    assert [found[name].have for name in ("ndc", "dnsproxyd")] == [False, False]
    assert "hotspot" in found["ndc"].cost
    for path in ("system/bin/ndc", "dev/socket/dnsproxyd"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch(0o755)
    found = rows(phone)
    assert [found[name].how for name in ("ndc", "dnsproxyd")] == ["/system/bin/ndc", "/dev/socket/dnsproxyd"]
