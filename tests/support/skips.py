"""``pytest --fail-skipped REGEX``: the run fails if a test was skipped with such a reason.

On a newcomer's machine a test that needs torch is skipped. CI installs torch: there, a skipped test
is one that nobody ever runs.
"""

import re
from typing import Any

import pytest

_KEY = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--fail-skipped", metavar="REGEX", help="reasons that fail the run")


def pytest_configure(config: pytest.Config) -> None:
    """Begin a list of skipped tests."""
    config.stash[_KEY] = []
    pattern = config.getoption("--fail-skipped")
    if pattern:
        config.pluginmanager.register(_Watch(re.compile(pattern), config.stash[_KEY]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the run fail if such a test was skipped."""
    if session.config.stash[_KEY] and session.exitstatus in (0, 5):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name these tests."""
    for line in config.stash[_KEY]:
        terminalreporter.write_line(f"SKIPPED, which --fail-skipped forbids: {line}", red=True)


class _Watch:
    """Looks at every report, also those of modules that were skipped as a whole."""

    def __init__(self, pattern: re.Pattern[str], found: list[str]) -> None:
        self._pattern, self._found = pattern, found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    def _look(self, report: Any) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2])
            if self._pattern.search(reason):
                self._found.append(f"{report.nodeid}: {reason}")
