"""What a release says of itself is the same everywhere, and its lowest versions can be tried."""

import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_citation_and_changes_name_the_version() -> None:
    version = project()["version"]
    (cited,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == version
    first, *_ = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == version


def test_the_lowest_versions_are_those_that_are_allowed() -> None:
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    table = project()
    needed = [Requirement(line) for line in table["dependencies"]]
    extras = [Requirement(line) for of in table["optional-dependencies"].values() for line in of]
    assert {one.name for one in needed} <= pins.keys() <= {one.name for one in needed + extras}
    for one in needed + extras:
        if one.name in pins:
            floor = Version(str(one.specifier).removeprefix(">=")).release
            # The first release of 2024.9 is called 2024.9.22.
            assert Version(pins[one.name]).release[: len(floor)] == floor, one.name
