"""Freezing by each kind of hierarchy that this machine has."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nspawn.kernel.cgroup import Group, Hierarchy, remove_parent
from tests.support.daemon import steady
from tests.support.processes import wait_until

PLACES = [
    Hierarchy("/sys/fs/cgroup/freezer", 1),
    Hierarchy("/sys/fs/cgroup/unified", 2),
    Hierarchy("/sys/fs/cgroup", 2),
]


@pytest.fixture(params=PLACES, ids=lambda place: f"v{place.version}:{place.path}")
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    place: Hierarchy = request.param
    if not os.path.exists(f"{place.path}/cgroup.procs") or (
        place.version == 2 and not os.path.exists(f"{place.path}/cgroup.controllers")
    ):
        pytest.skip("this machine has none there")
    found = Group(place, f"test-{os.getpid()}")
    found.make(memory=False)
    yield found
    found.thaw()
    assert found.end()
    remove_parent(place)


def test_what_is_frozen_stands_still_and_goes_on(group: Group, tmp_path: Path) -> None:
    count = tmp_path / "count"
    folder = group.folders[0]
    script = f"echo $$ > {folder}/cgroup.procs; while :; do echo $((i+=1)) > {count}; sleep 0.02; done"
    with subprocess.Popen(["bash", "-c", script]) as child:
        assert wait_until(lambda: count.exists() and child.pid in group.processes(), 5)
        group.freeze()
        time.sleep(0.2)
        assert steady(count.read_text, 0.5)
        group.thaw()
        assert not steady(count.read_text, 0.5)
        group.freeze()
        group.thaw()
        group.kill()
        assert child.wait(5) == -9


def test_a_hierarchy_without_a_freezer_says_so() -> None:
    with pytest.raises(OSError, match="no cgroup"):
        Group(Hierarchy("", 0), "x").freeze()
    Group(Hierarchy("", 0), "x").thaw()
