"""Files of archives put together to patches, in any order of files, and no file twice."""

import tarfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.memory import CellPool
from patchpress.converter.sources import assembly
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.assembly import WINDOW
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.converter.sources.find_modality import Location
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import streams_of
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.readers.errors import PatchError, SourceError
from tests.support.helpers import described, patches
from tests.support.older_sets import make_sen12ms
from tests.support.packing import (
    CODECS,
    by_folder,
    ended,
    entries,
    entry,
    interleaved,
    members,
    shuffled,
    unpacked,
    write,
)
from tests.support.published_forms import TREES

S2 = "BigEarthNet-S2"


def stream(
    path: Path | Sequence[Path],
    *modalities: str,
    dataset: str = "bigearthnet-v2",
    problem: Callable[[PatchError], None] = lambda error: pytest.fail(str(error)),
    **options: Any,
) -> ArchiveStream:
    description = find_description(dataset)
    files = (path,) if isinstance(path, Path) else tuple(path)
    location = Location(None, (Archive(files),))
    parts = SourceParts(dict.fromkeys(modalities or ("s2",), location), {}, ())
    (found,) = streams_of(description, parts, problem, StreamOptions(**options))
    return found


def files_of(patch: Patch, memory: memoryview | None = None) -> dict[str, bytes]:
    assert patch.archived is not None
    folder = patch.archived.open(patch.folder, memory)
    return {name: folder.read(name) for name in folder.names()}


def fault_of(patch: Patch) -> str:
    assert patch.in_memory is not None
    return patch.in_memory.fault


def as_walked(raw: Path, modality: str = "s2") -> dict[str, dict[str, bytes]]:
    """Key -> name -> bytes of all patches of a modality, in the order of a walk."""
    source = described().modalities[modality]
    return {
        patch.key: {file.name: file.read_bytes() for file in Path(patch.folder).iterdir()}
        for patch in Walk(source, raw / source.folder, ignore_problem)
    }


def as_streamed(found: Iterable[Patch]) -> dict[str, dict[str, bytes]]:
    return {patch.key: files_of(patch) for patch in found}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("modality", ["s2", "s1", "map"])
def test_patches_are_those_of_a_walk_in_its_order(
    raw: Path, tmp_path: Path, codec: str, modality: str
) -> None:
    folder = described().modalities[modality].folder
    path = write(tmp_path / f"a.{codec}", entries(raw, members(raw, folder)))
    found = as_streamed(stream(path, modality))
    assert found == as_walked(raw, modality)
    assert list(found) == list(as_walked(raw, modality))


def test_packed_trees_are_as_tar_packs_them(raw: Path, tmp_path: Path) -> None:
    names = members(raw, S2)
    path = write(tmp_path / "a.tar", entries(raw, names))
    assert unpacked(path) == {name: (raw / name).read_bytes() for name in names}
    assert len(unpacked(path)) == 60


def test_a_patch_says_of_itself_what_its_folder_says(raw: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", entries(raw, members(raw, S2)))
    source = described().modalities["s2"]
    walked = Walk(source, raw / S2, ignore_problem)
    for patch, other in zip(stream(path), walked, strict=True):
        folder = other.folder.replace(str(raw), str(path))
        assert replace(patch, archived=None) == replace(other, folder=folder)


@pytest.mark.parametrize("prefix", ["", "./", "data/v2/", f"./{'deep/' * 40}"])
def test_what_stands_above_is_the_packers_choice(raw: Path, tmp_path: Path, prefix: str) -> None:
    path = write(tmp_path / "a.tar", entries(raw, members(raw, S2), prefix))
    assert as_streamed(stream(path)) == as_walked(raw)
    path = write(tmp_path / "b.tar", entries(raw / S2, members(raw / S2, "."), prefix))
    assert as_streamed(stream(path)) == as_walked(raw)


def test_files_come_in_any_order_inside_a_patch(raw: Path, tmp_path: Path) -> None:
    names = shuffled(members(raw, S2))
    assert names != sorted(names)
    path = write(tmp_path / "a.tar", entries(raw, names))
    found = as_streamed(stream(path))
    assert found == as_walked(raw)
    assert list(found) == list(as_walked(raw))


def many(count: int) -> list[str]:
    """The names of the files of so many patches, which are in no folder."""
    product = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    bands = [band.name for band in described().modalities["s2"].bands]
    patches = [f"{product}_{number // 90:02}_{number % 90:02}" for number in range(count)]
    return [f"{product}/{patch}/{patch}_{band}.tif" for patch in patches for band in bands]


def numbered(names: Iterable[str]) -> list[bytes]:
    return [entry(name, name.encode()) for name in names]


@pytest.mark.parametrize("together", [2, 7, WINDOW])
def test_patches_may_be_interleaved(tmp_path: Path, together: int) -> None:
    names = interleaved(together)(many(150))
    path = write(tmp_path / "a.tar", numbered(names))
    found = as_streamed(stream(path))
    assert len(found) == 150
    for name in names:
        _, patch, file = name.split("/")
        assert found[patch][file] == name.encode()


@pytest.mark.parametrize("together", [WINDOW + 1, 150])
def test_beyond_the_window_an_error_says_what_to_do(tmp_path: Path, together: int) -> None:
    path = write(tmp_path / "a.tar", numbered(interleaved(together)(many(150))))
    coming = iter(stream(path))
    first = next(coming)
    assert first.name in many(1)[0]
    assert "B02.tif is missing, or lies more than 64 patches behind" in fault_of(first)
    assert "unpack the archive and give the folder" in fault_of(first)
    with pytest.raises(SourceError, match=f"{first.name} more than 64 patches apart: unpack it"):
        list(coming)


def test_a_cell_is_used_again_when_its_patch_is_let_go(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", numbered(many(20)))
    cells = CellPool(100_000, 2)
    for patch in stream(path, cells=cells):
        files = files_of(patch, cells.memory)
        assert all(data.endswith(name.encode()) for name, data in files.items())
        assert files_of(patch, None) == {}  # all of them are in the cell


def test_what_finds_no_cell_is_held_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", numbered(many(20)))
    cells = CellPool(700, 3)  # room for a few files of three patches
    found = {patch.key: patch for patch in stream(path, cells=cells)}
    assert len(found) == 20
    for patch in found.values():
        files = files_of(patch, cells.memory)
        assert len(files) == 12
        assert all(data.endswith(name.encode()) for name, data in files.items())


def test_files_that_belong_to_no_patch_are_counted(raw: Path, tmp_path: Path) -> None:
    names = members(raw, S2)
    more = [entry(name, b"x") for name in ("README", f"{S2}/.DS_Store", "a/b/c/d.tif")]
    beside = entry(f"{names[0].rpartition('/')[0]}/notes.txt", b"x")
    parts = [more[0], *entries(raw, names[:20]), beside, *entries(raw, names[20:]), *more[1:]]
    path = write(tmp_path / "a.tar", parts)
    found = stream(path)
    assert as_streamed(found) == as_walked(raw)
    assert found.passed_over["a.tar"] == PassedOver(
        3, ["README", f"{names[0].rpartition('/')[0]}/notes.txt", "a/b/c/d.tif"], hidden=1
    )


@pytest.mark.parametrize("position", ["first", "within", "last"])
def test_a_band_too_many_is_there(raw: Path, tmp_path: Path, position: str) -> None:
    names = members(raw, S2)
    group = by_folder(names)[1]
    extra = entry(group[0].replace("_B01.", "_B10."), b"x")
    at = names.index(group[{"first": 0, "within": 5, "last": -1}[position]])
    at += position == "last"
    parts = entries(raw, names)
    path = write(tmp_path / "a.tar", [*parts[:at], extra, *parts[at:]])
    found = as_streamed(stream(path))
    more = [key for key, files in found.items() if len(files) == 13]
    assert more == [patches(raw, "s2")[1]]


@pytest.mark.parametrize("lacking", [0, 4, 11])
def test_a_band_too_few_is_missing(raw: Path, tmp_path: Path, lacking: int) -> None:
    names = members(raw, S2)
    names.remove(by_folder(names)[1][lacking])
    found = as_streamed(stream(write(tmp_path / "a.tar", entries(raw, names))))
    assert [key for key, files in found.items() if len(files) == 11] == [patches(raw, "s2")[1]]
    assert len(found) == 5


def test_patches_that_lack_files_are_given_up_when_the_window_is_full(tmp_path: Path) -> None:
    names = [name for name in many(100) if "_B05" not in name]
    found = list(stream(write(tmp_path / "a.tar", numbered(names))))
    assert [patch.name for patch in found] == sorted({name.split("/")[1] for name in names})
    assert all("B05.tif is missing" in fault_of(patch) for patch in found[: 100 - WINDOW])
    assert len([patch for patch in found if fault_of(patch)]) == 100 - WINDOW


def test_a_file_twice_is_refused(raw: Path, tmp_path: Path) -> None:
    names = members(raw, S2)
    for at in (1, 12):
        again = [*names[:at], names[0], *names[at:]]
        path = write(tmp_path / "a.tar", entries(raw, again))
        with pytest.raises(SourceError, match=f"{path} has {names[0]} twice"):
            list(stream(path))


def test_a_file_far_too_large_is_not_read(raw: Path, tmp_path: Path) -> None:
    names = members(raw, S2)
    parts = entries(raw, names)
    parts[14] = entry(names[14], bytes(20 << 20))
    first, second, *others = stream(write(tmp_path / "a.tar.zst", parts))
    assert f"{names[14]} has 20,971,520 bytes, far more" in fault_of(second)
    assert not [patch for patch in (first, *others) if fault_of(patch)]
    assert second.in_memory is not None
    assert Path(names[14]).name not in second.in_memory


def test_a_patch_in_the_wrong_folder_is_told_of_once(raw: Path, tmp_path: Path) -> None:
    names = members(raw, S2)
    group = by_folder(names)[1]
    product = group[0].split("/")[1]
    other = "S2B_MSIL2A_20180506T105029_N9999_R051_T31UEW"
    parts = entries(raw, [name for name in names if name not in group])
    parts += [entry(name.replace(product, other, 1)) for name in group]
    problems: list[PatchError] = []
    found = stream(write(tmp_path / "a.tar", parts), problem=problems.append)
    assert len(list(found)) == 4
    assert len(problems) == 1
    assert f"{other}/{group[0].split('/')[2]} lies in the wrong folder" in str(problems[0])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tarfile.SYMTYPE, f"{S2}/link.tif"),
        (tarfile.LNKTYPE, f"{S2}/link.tif"),
        (tarfile.CHRTYPE, f"{S2}/null"),
        (tarfile.FIFOTYPE, f"{S2}/pipe"),
        (tarfile.REGTYPE, "../../up.tif"),
        (tarfile.REGTYPE, "/etc/passwd"),
    ],
)
def test_what_no_publisher_packs_is_refused(
    raw: Path, tmp_path: Path, kind: bytes, name: str
) -> None:
    parts = entries(raw, members(raw, S2))
    path = write(tmp_path / "a.tar", [*parts[:30], entry(name, kind=kind), *parts[30:]])
    with pytest.raises(SourceError, match=f"{path} has .*{name}.*refused"):
        list(stream(path))
    assert not threads()


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "patchpress-archive"]


@pytest.mark.parametrize("codec", CODECS)
def test_an_early_end_names_the_last_whole_patch(raw: Path, tmp_path: Path, codec: str) -> None:
    names = members(raw, S2)
    data = b"".join(entries(raw, names[:31]))
    path = tmp_path / f"a.{codec}"
    path.write_bytes(CODECS[codec](data[:-700]))
    whole = patches(raw, "s2")[1]
    with pytest.raises(SourceError, match=f"a.{codec} ends early.*last whole patch is {whole};"):
        list(stream(path))
    packed = CODECS[codec](ended(entries(raw, names)))
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(packed[: int(len(packed) * share)])
        with pytest.raises(SourceError, match=r"the last whole (patch|file) is|has no whole file"):
            list(stream(path))


def test_an_archive_without_patches_says_what_it_holds(raw: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [entry("other/thing.tif"), entry("more")])
    with pytest.raises(SourceError, match=f"{path} has no patch: it holds other/thing.tif, but"):
        list(stream(path))
    path = write(tmp_path / "b.tar", [])
    with pytest.raises(SourceError, match=r"has no patch: it holds nothing, but \{product\}"):
        list(stream(path))


def test_another_archive_is_not_read_to_its_end(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "FOREIGN", 20)
    parts = [entry(f"other/{number}.tif", bytes(1 << 20)) for number in range(60)]
    found = stream(write(tmp_path / "a.tar", parts))
    with pytest.raises(SourceError, match="has no patch: it holds other/0.tif"):
        list(found)
    assert found.consumed < 40 << 20
    # But if there is a patch among its files, it is.
    parts = [*numbered(many(1)), *[entry(f"other/{number}.tif") for number in range(60)]]
    found = stream(write(tmp_path / "b.tar", parts))
    assert len(list(found)) == 1
    assert found.passed_over["b.tar"].unmatched == 60


def test_every_byte_is_read_once(raw: Path, tmp_path: Path) -> None:
    for codec in CODECS:
        path = write(tmp_path / f"a.{codec}", entries(raw, members(raw, S2)))
        found = stream(path)
        assert found.consumed == 0
        list(found)
        assert found.consumed == found.size == path.stat().st_size


@pytest.mark.slow
def test_nothing_more_is_read_when_all_wanted_have_come(tmp_path: Path) -> None:
    parts = [entry(name, bytes(100_000)) for name in many(200)]
    path = write(tmp_path / "a.tar", parts)
    wanted = {name.split("/")[1] for name in many(3)}
    found = stream(path, takes=lambda patch: patch.name in wanted, most={"s2": 3})
    assert {patch.name for patch in found} == wanted
    assert found.consumed < found.size / 5
    assert not threads()


def test_of_none_wanted_nothing_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", numbered(many(20)))
    found = stream(path, takes=lambda patch: False, most={"s2": 0})
    assert list(found) == []
    assert found.consumed == 0


def test_names_come_without_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", numbered(many(20)))
    found = list(stream(path, names_only=True))
    assert len(found) == 20
    assert all(patch.archived is None for patch in found)


def test_all_modalities_may_lie_in_one_archive(raw: Path, tmp_path: Path) -> None:
    folders = ["BigEarthNet-S1", S2, "Reference_Maps"]
    names = [name for folder in folders for name in members(raw, folder)]
    path = write(tmp_path / "a.tar.zst", entries(raw, names, "all/"))
    found = list(stream(path, "s2", "s1", "map"))
    for name in ("s2", "s1", "map"):
        assert as_streamed(p for p in found if p.modality == name) == as_walked(raw, name)


@pytest.mark.parametrize("modality", ["s2", "s1", "map"])
def test_what_lies_in_the_folder_of_another_modality_is_passed_over(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    monkeypatch.setattr(assembly, "FOREIGN", 2)  # files of other modalities do not count
    folders = ["BigEarthNet-S1", S2, "Reference_Maps"]
    names = [name for folder in folders for name in members(raw, folder)]
    found = stream(write(tmp_path / "a.tar", entries(raw, names)), modality)
    assert as_streamed(found) == as_walked(raw, modality)
    assert found.passed_over == {}


def test_modalities_of_the_same_paths_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    names = []
    for modality, source in find_description("ssl4eo-s12").modalities.items():
        product = "S1A_IW_x" if modality == "s1" else "20200101T000000_20200101T000000_T33UUP"
        bands = [band.name for band in source.bands]
        names += [f"{source.folder}/0000{n}/{product}/{band}.tif" for n in "12" for band in bands]
    path = write(tmp_path / "a.tar", numbered(names))
    for wanted in [("s2c", "s2a", "s1"), ("s2a",)]:
        found = list(stream(path, *wanted, dataset="ssl4eo-s12"))
        assert [patch.modality for patch in found].count("s2a") == 2
        assert len(found) == 2 * len(wanted)
        for patch in found:
            assert all(
                data.decode().startswith(f"{patch.modality}/") for data in files_of(patch).values()
            )


def test_several_files_of_one_folder_are_patches(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1, 2), patches=2)
    path = write(tmp_path / "a.tar.gz", entries(tmp_path / "raw", members(tmp_path / "raw", ".")))
    for modality, count in (("s2", 4), ("s1", 4), ("lc", 4)):
        found = stream(path, modality, dataset="sen12ms")
        come = list(found)
        assert len(come) == count
        for patch in come:
            ((name, data),) = files_of(patch).items()
            (file,) = (tmp_path / "raw").rglob(name)
            assert data == file.read_bytes()


def test_interleaved_archives_hold_no_more_than_the_window(tmp_path: Path) -> None:
    """Memory does not grow with the number of patches."""
    names = interleaved(10)(many(300))
    cells = CellPool(1 << 16, 12)
    for patch in stream(write(tmp_path / "a.tar", numbered(names)), cells=cells):
        assert patch.in_memory is not None
        assert files_of(patch, cells.memory).keys() == files_of(patch, cells.memory).keys()
        assert not ArchivedFiles.__reduce__(patch.in_memory)[1][1]  # type: ignore[index]


@pytest.mark.slow
def test_every_described_dataset_can_be_streamed(tmp_path: Path) -> None:
    for name, tree in TREES.items():
        root = tree.write(tmp_path / name)
        description = find_description(name)
        for modality, source in description.modalities.items():
            path = write(tmp_path / f"{name}-{modality}.tar", entries(root, members(root, ".")))
            walked = {p.key for p in Walk(source, root / source.folder, ignore_problem)}
            found = {p.key for p in stream(path, modality, dataset=name)}
            assert found == walked, (name, modality)
