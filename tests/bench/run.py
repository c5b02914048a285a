#!/usr/bin/env python3
"""Measure nspawn and its peers: `python3 build.py bench`, or as root `tests/bench/run.py --help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(_CHECKOUT), str(_CHECKOUT / "python")]

from tests.bench import (  # noqa: E402
    footprint,
    images,
    machine,
    network,
    page,
    phone,
    repose,
    scale,
    space,
    starts,
    vm,
)
from tests.bench.report import Part, Report, as_json, markdown  # noqa: E402

_MEASURES: dict[str, Callable[[Path, int, int], Part]] = {
    "starts": starts.measure,
    "network": network.measure,
    "footprint": footprint.measure,
    "rest": repose.measure,
    "phone": phone.measure,
    "vm": vm.measure,
    "scale": scale.measure,
    "images": images.measure,
    "page": page.measure,
}


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="rounds of each comparison (default 30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the order within the rounds")
    parser.add_argument(
        "--only", choices=sorted(_MEASURES), help="one measure; then nothing is written by default"
    )
    parser.add_argument("--output", type=Path, help="Markdown file (default docs/benchmark.md)")
    parser.add_argument("--json", type=Path, help="JSON file (default docs/benchmark.json)")
    chosen = parser.parse_args(argv)
    if chosen.pairs < 1:
        parser.error("--pairs must be at least 1")
    if chosen.only is None:
        chosen.output = chosen.output or _CHECKOUT / "docs/benchmark.md"
        chosen.json = chosen.json or _CHECKOUT / "docs/benchmark.json"
    return chosen


def main(argv: list[str]) -> int:
    """Run the measures; status 0 also when a target is missed: the table says so."""
    chosen = _arguments(argv)
    if os.geteuid() != 0:
        sys.stderr.write("bench: root is needed for namespaces and mounts\n  Run it with sudo.\n")
        return 1

    def work(folder: Path) -> int:
        facts = machine.facts(folder) | {"seed of the order": str(chosen.seed)}
        parts = []
        for name, measure in _MEASURES.items():
            if chosen.only in (None, name):
                sys.stderr.write(f"bench: {name}\n")
                place = folder / name
                place.mkdir()
                parts.append(measure(place, chosen.pairs, chosen.seed))
        report = Report(machine=facts, pairs=chosen.pairs, parts=parts)
        page_text = markdown(report)
        for path, text in ((chosen.output, page_text), (chosen.json, as_json(report))):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        sys.stdout.write(page_text)
        return 0

    return space.inside(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
