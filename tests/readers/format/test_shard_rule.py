"""Which shard a record is in: fixed for ever, as FORMAT.md says it, and even."""

import re
from collections import Counter
from pathlib import Path

import pytest
import xxhash

from patchpress.readers.format.shard_rule import (
    MOST_SHARDS,
    SHARD_PATH,
    shard_folder,
    shard_of,
    shard_path,
)

KEY = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
FORMAT = Path(__file__).parents[3] / "readers" / "FORMAT.md"


@pytest.mark.parametrize(
    ("key", "shards", "number"),
    [(KEY, 1, 0), (KEY, 16, 5), (KEY, 40, 5), (KEY, 1000, 125), ("ä", 16, 4)],
)
def test_a_key_is_in_the_same_shard_for_ever(key: str, shards: int, number: int) -> None:
    assert shard_of(key, shards) == number


def test_the_rule_is_the_one_that_the_format_says() -> None:
    (code,) = re.findall(r"```python\n(import xxhash\n.*?)```", FORMAT.read_text(), re.DOTALL)
    names: dict[str, object] = {"key": KEY, "N": 40}
    exec(code, names)  # noqa: S102 -- the text of our own document
    assert names["number"] == shard_of(KEY, 40)
    assert names["path"] == shard_path(shard_of(KEY, 40))


def test_keys_are_spread_evenly() -> None:
    counts = Counter(shard_of(f"patch_{number}", 16) for number in range(16_000))
    assert set(counts) == set(range(16))
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_paths_of_shards_are_those_that_a_manifest_may_have() -> None:
    assert [shard_path(0), shard_path(12)] == ["shards/00000/data.mdb", "shards/00012/data.mdb"]
    assert shard_folder(3) == "shards/00003"
    assert re.fullmatch(SHARD_PATH, shard_path(MOST_SHARDS - 1))
    assert xxhash.xxh3_64_intdigest(b"") == 3244421341483603138  # XXH3-64, seed 0
