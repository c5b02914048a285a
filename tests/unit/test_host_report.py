from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nspawn.cli.doctor import text as host_text
from nspawn.kernel import namespaces
from nspawn.layout import Layout
from nspawn.service import features, host, netfeatures

if TYPE_CHECKING:
    from pathlib import Path


def test_this_machine_is_described(tmp_path: Path) -> None:
    report = host.report(Layout(str(tmp_path / "none")))
    text = json.dumps(report.as_dict())
    assert "CONFIG_PID_NS" in text
    assert report.memory["total"] > report.memory["available"] > 0
    assert report.disk["total"] > 0
    assert not report.spawner["running"]
    assert "Namespaces" in host_text(report)
    assert not (tmp_path / "none").exists()


def test_a_poor_kernel_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stock 6.1 GKI: no PID and no IPC namespace, and some options missing."""
    lacking = 0x20000000 | 0x08000000
    monkeypatch.setattr(namespaces, "available", lambda: 0x7FFFFFFF & ~lacking)
    monkeypatch.setattr(features, "usable_namespaces", lambda _flags: 0x7FFFFFFF & ~lacking & ~0x40000000)
    monkeypatch.setattr(features, "kernel_config", lambda: {"VETH": "y", "MEMCG": "y"})
    monkeypatch.setattr(features, "shown_by", lambda _name: "")
    report = host.report(Layout(str(tmp_path)))
    found = {each.name: each for each in (*report.namespaces, *report.features)}
    assert not found["pid"].have
    assert found["pid"].why == "the kernel was built without CONFIG_PID_NS"
    assert "service manager" in found["pid"].cost
    assert found["net"].why == "the kernel has it, but refuses it to us"
    assert found["overlay"].why == "the kernel was built without CONFIG_OVERLAY_FS"
    assert found["memory limit"].have
    assert all(each.why and each.cost and each.hint for each in found.values() if each.have is False)
    assert not report.problems
    text = host_text(report)
    assert "CONFIG_PID_NS" in text
    assert text.index("no   pid") < text.index("yes  mnt"), "what is missing comes first"


def test_a_kernel_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "kernel_config", lambda: None)
    monkeypatch.setattr(features, "shown_by", lambda _name: "")
    report = host.report(Layout(str(tmp_path)))
    asked = {each.name for each in netfeatures.of_network(os.environ)}
    assert {each.have for each in report.features if each.config and each.name not in asked} == {None}
    assert not report.config
    assert "?" in host_text(report)


def test_no_mount_namespace_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "usable_namespaces", lambda _flags: 0)
    report = host.report(Layout(str(tmp_path)))
    assert "mnt" in [each.name for each in report.problems]
