"""A pytest plugin: --times FILE gets the seconds of each test file, its fixtures included, as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest


class Clock:
    def __init__(self, output: Path) -> None:
        self._output = output
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        self._output.write_text(json.dumps(self._seconds))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--times", type=Path, metavar="FILE", help="write the seconds of each test file")


def pytest_configure(config: pytest.Config) -> None:
    if output := config.getoption("--times"):
        config.pluginmanager.register(Clock(output))
