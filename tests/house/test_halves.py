"""The two halves in which all tests are run at once have each of them, once."""

from pathlib import Path

from tests.support.at_once import FIRST, TESTS, halves


def test_each_test_is_in_one_half() -> None:
    root = TESTS.parent
    first, others = ([root / path for path in half] for half in halves())
    assert len(first) == len(FIRST)
    for module in TESTS.rglob("test_*.py"):
        holders = [path for path in (*first, *others) if path in (module, *module.parents)]
        assert len(holders) == 1, module
    assert all(Path(path).exists() for path in (*first, *others))
