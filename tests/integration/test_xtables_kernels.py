"""What each kernel and each iptables has or lacks: features, the lock, how the chains are read, the tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nspawn.errors import Busy, Unsupported
from nspawn.kernel import iptlegacy, iptnft, xtables
from nspawn.model.chains import Seen
from nspawn.model.firewall import Features
from tests.support.veths import sh
from tests.support.xtablesbox import WANTED, Firewall, rules_of


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
