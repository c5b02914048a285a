"""How test files are spread over shards, and what is read of their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import box, places, shards
from tools.box import Mount

FILES = [
    "tests/module/test_a.py",
    "tests/module/test_b.py",
    "tests/browser/test_c.py",
    "tests/integration/test_run_debian.py",
    *(f"tests/unit/test_{number}.py" for number in range(10)),
]
TIMES = {"tests/module/test_a.py": 20.0, "tests/unit/test_3.py": 30.0, "tests/browser/test_c.py": 10.0}

OUTPUT = """\
tests/unit/test_a.py ..F                                                 [ 42%]
tests/unit/test_b.py .s                                                  [100%]
=========================== short test summary info ============================
SKIPPED [1] tests/unit/test_b.py:3: no such thing here
FAILED tests/unit/test_a.py::test_x[a - b] - assert 1 == 2
ERROR tests/unit/test_b.py::test_y - AssertionError: left after all tests:
"""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_file_is_in_one_shard(number: int) -> None:
    parts = shards.assign(FILES, TIMES, number)
    assert len(parts) == number
    assert sorted(name for part in parts for name in part) == sorted(FILES)
    assert all(part == sorted(part) for part in parts)


def test_the_order_of_the_files_changes_nothing() -> None:
    assert shards.assign(reversed(FILES), TIMES, 2) == shards.assign(FILES, TIMES, 2)


def test_dear_things_are_made_once_and_the_internet_is_in_the_first_shard() -> None:
    first, second = shards.assign(FILES, TIMES, 2)
    together = {"tests/module/test_a.py", "tests/module/test_b.py", "tests/integration/test_run_debian.py"}
    assert together <= set(first)
    assert "tests/browser/test_c.py" in second


def test_shards_take_about_as_long() -> None:
    loads = [sum(TIMES.get(name, shards.UNKNOWN) for name in part) for part in shards.assign(FILES, TIMES, 2)]
    assert max(loads) - min(loads) <= 2 * shards.UNKNOWN


def test_no_shard_is_empty() -> None:
    assert shards.assign(["tests/unit/test_1.py"], {}, 3) == [["tests/unit/test_1.py"]]


def test_the_table_of_this_checkout_names_files_that_are_there() -> None:
    times = shards.read_times((places.HOME / "tests/durations.txt").read_text())
    assert [name for name in times if not Path(places.HOME, name).exists()] == []
    assert shards.read_times(shards.write_times(times)) == times


@pytest.mark.parametrize(
    ("closing", "counts"),
    [
        ("===== 1 failed, 3 passed, 1 skipped, 1 error in 3.21s =====", (3, 2, 1)),
        ("= 4 failed, 3563 passed, 8 skipped in 1232.25s (0:20:32) =", (3563, 4, 8)),
        ("== 2 passed, 7 deselected, 2 errors in 0.10s ==", (2, 2, 0)),
        ("=== no tests ran in 0.01s ===", (0, 0, 0)),
    ],
)
def test_counts(closing: str, counts: tuple[int, int, int]) -> None:
    found = shards.parse_summary(f"{OUTPUT}{closing}\n")
    assert found.complete
    assert (found.passed, found.failed, found.skipped) == counts


def test_what_failed_and_what_was_skipped_is_told() -> None:
    found = shards.parse_summary(OUTPUT)
    assert not found.complete
    assert found.skips == ("SKIPPED [1] tests/unit/test_b.py:3: no such thing here",)
    assert [line.split(" ")[0] for line in found.bad] == ["FAILED", "ERROR"]


def test_a_pytest_that_broke_off_is_not_complete() -> None:
    assert shards.parse_summary("") == shards.Summary()
    assert shards.parse_summary("Segmentation fault\n") == shards.Summary()


def test_one_line_about_all() -> None:
    parts = [shards.Summary(passed=3, failed=1, skipped=2), shards.Summary(passed=4, skipped=1)]
    assert shards.closing_line(parts, 61.4) == "7 passed, 1 failed, 3 skipped in 61 s"


def test_progress() -> None:
    assert shards.progress(OUTPUT) == "100%"
    assert shards.progress("collecting ...") == "0%"


def test_a_hierarchy_is_mounted_again_by_what_it_is() -> None:
    text = (
        "36 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "37 30 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd\n"
        "38 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    mounts = box.parse_mounts(text)
    assert mounts[0] == Mount("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cgroup", "rw,cpu,cpuacct")
    assert [box.hierarchy_options(mount) for mount in mounts] == ["cpu,cpuacct", "none,name=systemd", "rw"]
