"""Keys in a file are found as those in memory are; a file that is cut is an error."""

import random
from pathlib import Path

import numpy as np
import pytest

from patchpress.readers.access.keys import BLOCK, ExtentsFile, Keys, KeysInFile, KeysInMemory
from patchpress.readers.errors import StoreDamaged

BEFORE = b"other bytes"


def in_file(path: Path, keys: np.ndarray) -> KeysInFile:
    path.write_bytes(BEFORE + keys.tobytes() + b"more")
    seen: list[bytes] = []
    file, width = ExtentsFile(path), keys.dtype.itemsize
    found = KeysInFile(file, len(BEFORE), width, len(keys), seen.append)
    assert b"".join(seen) == keys.tobytes()
    return found


def drawn(count: int, draw: random.Random) -> list[bytes]:
    """Names of four letters and fewer, so that many of them are alike, in order."""
    every = [bytes(draw.choices(b"abc", k=draw.randrange(1, 11))) for _ in range(3 * count)]
    names = sorted(set(every))
    return sorted(draw.sample(names, min(count, len(names))))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 40_000])
def test_names_are_where_they_were_put(tmp_path: Path, count: int) -> None:
    draw = random.Random(count)  # noqa: S311
    names = drawn(count, draw)
    right = {name: at for at, name in enumerate(names)}
    keys = np.array(names)
    width = keys.dtype.itemsize
    both: tuple[Keys, Keys] = KeysInMemory(keys), in_file(tmp_path / "keys", keys)
    others = [b"", b"A", b"zz", b"b" * width, names[0][:-1], names[-1] + b"a", *drawn(300, draw)]
    others = [name[:width] for name in others]
    for asked in (names, others, [*names, *others] * 2, names[:1], others[:1], []):
        draw.shuffle(shuffled := list(asked))
        wanted = [right.get(name, -1) for name in shuffled]
        for one in both:
            assert one.search(np.array(shuffled, f"S{width}")).tolist() == wanted
    for one in both:
        assert (len(one), one.width) == (len(names), width)
        assert one.part(0, len(names)).tolist() == names
        assert [one.one(at) for at in range(len(names))] == names
        assert one.part(count // 2, count // 2 + 70).tolist() == names[count // 2 :][:70]
        for name in [*others, *draw.sample(names, min(99, len(names)))]:
            assert one.place(name) == sum(known < name for known in names)


def test_a_name_across_two_keys_is_none_of_them(tmp_path: Path) -> None:
    keys = in_file(tmp_path / "keys", np.array([b"abab", b"abba", b"bbab"]))
    for name in (b"abab", b"babb", b"baab", b"abbb"):
        wanted = 0 if name == b"abab" else -1
        assert keys.search(np.array([name])).tolist() == [wanted]


@pytest.mark.parametrize("asked", [1, 1000])
def test_a_file_that_is_cut_is_an_error(tmp_path: Path, asked: int) -> None:
    path = tmp_path / "store" / "extents"
    path.parent.mkdir()
    names = [b"%08d" % number for number in range(1000)]
    keys = in_file(path, np.array(names))
    with path.open("r+b") as file:
        file.truncate(len(BEFORE) + 8 * 500)
    last = np.array(names[-asked:])
    with pytest.raises(StoreDamaged, match=r"read \(it ended at byte .*: check its disk, and"):
        keys.search(last)
    assert keys.search(np.array(names[:300:3])).tolist() == list(range(0, 300, 3))
