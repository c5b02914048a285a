"""What the flash screen says: narrow, short, and with the right exit status."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nspawn.cli.brief import report
from nspawn.kernel import config, namespaces
from nspawn.model import features

HOME = Path(__file__).resolve().parents[2]
ALL = [name for name, _flag, _option in namespaces.NAMESPACES]
EVERYTHING = {option: "y" for _name, options, _cost, _short in features.OPTIONS for option in options}
#: As a stock 6.1 GKI kernel (facts: quirks).
GKI = {
    name: "y"
    for name in EVERYTHING
    if name not in ("SYSVIPC", "POSIX_MQUEUE", "CGROUP_DEVICE", "CGROUP_PIDS", "CFS_BANDWIDTH", "IP6_NF_NAT")
}


def test_a_kernel_with_everything_takes_two_lines() -> None:
    assert report("6.12.1", ALL, EVERYTHING, 2) == (["Kernel 6.12.1", "Containers can run."], 0)


def test_a_stock_kernel() -> None:
    lines, status = report(
        "6.1.75-android14-11-g0123456789ab-ab11111111", ["mnt", "uts", "cgroup", "net"], GKI, 2
    )
    assert status == 0
    assert lines == [
        "Kernel",
        "  6.1.75-android14-11-g0123456789ab-ab11111111"[:46],
        "Containers can run.",
        "Missing:",
        "- CONFIG_PID_NS: no systemd or other init in",
        "  containers",
        "More: nspawn doctor",
    ]


def test_what_the_user_chose_not_to_use() -> None:
    lines, status = report("6.12.1", [name for name in ALL if name != "pid"], EVERYTHING, 2, ["pid"])
    assert status == 0
    assert "- pid, by your choice: no systemd or other" in lines


@pytest.mark.parametrize(
    ("release", "spaces", "words"),
    [
        ("4.14.117-perf", ALL, "older than 4.19"),
        ("5.10.3", ["net"], "no mount namespaces (CONFIG_NAMESPACES)"),
        ("unknown", ALL, "older than 4.19"),
    ],
)
def test_what_ends_the_installation(release: str, spaces: list[str], words: str) -> None:
    lines, status = report(release, spaces, EVERYTHING, 2)
    assert status == 1
    assert words in " ".join(line.strip() for line in lines)
    assert "Containers can run." not in lines


@pytest.mark.parametrize("options", [None, {}, GKI])
def test_lines_fit_a_narrow_screen(options: dict[str, str] | None) -> None:
    lines, status = report("5.10.198-android13", ["mnt"], options, 0)
    assert status == 0
    assert max(map(len, lines)) <= 45, lines
    assert len(lines) < 24


def test_it_is_quick_and_needs_no_state(tmp_path: Path) -> None:
    words = [str(HOME / "system/bin/nspawn"), "doctor", "--brief"]
    began = time.monotonic()
    done = subprocess.run(
        words, env={"PATH": "", "NSPAWN_ROOT": str(tmp_path / "none")}, capture_output=True, text=True
    )
    seconds = time.monotonic() - began
    assert done.stdout.startswith("Kernel "), done.stderr
    assert seconds < 0.25
    assert not (tmp_path / "none").exists()


def test_it_imports_little() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from nspawn.cli import brief; brief.main();"
        "print([name for name in ('dataclasses', 'typing', 'json', 're', 'argparse', 'subprocess', 'gzip')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(HOME / "python")], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "data", [b"", b"not gzip", b"\x1f\x8b\x08", gzip.compress(b"# CONFIG_A is not set\n")]
)
def test_a_configuration_that_cannot_be_read(data: bytes, tmp_path: Path) -> None:
    place = tmp_path / "config.gz"
    place.write_bytes(data)
    assert config.read([str(place), str(tmp_path / "none")]) is None


def test_a_configuration_is_read(tmp_path: Path) -> None:
    text = b'# x\nCONFIG_TUN=m\nCONFIG_NAME="y"\nCONFIG_HZ=250\n# CONFIG_PID_NS is not set\nCONFIG_VETH=y\n'
    (tmp_path / "config.gz").write_bytes(gzip.compress(text))
    (tmp_path / "plain").write_bytes(text)
    for name in ("config.gz", "plain"):
        assert config.read([str(tmp_path / name)]) == {"TUN": "m", "VETH": "y"}


@pytest.mark.parametrize(
    ("release", "found"),
    [("6.1.57-android14", (6, 1)), ("5.10-rc1", (5, 10)), ("4.19", (4, 19)), ("", (0, 0)), ("x.y", (0, 0))],
)
def test_versions_of_kernels(release: str, found: tuple[int, int]) -> None:
    assert features.version(release) == found
