"""A folder that is not what it should be is recognised, and the right one is named."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import convert, dry_run
from patchpress.converter.descriptions.parse import (
    built_in_aliases,
    built_in_descriptions,
    find_description,
)
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.probe import first_files
from patchpress.converter.sources.recognize import fitting, sights
from patchpress.readers.errors import (
    DescriptionError,
    SourceError,
    SourceIncomplete,
    SourceMissing,
)
from tests.support.helpers import DATASET, Ended, command, made, stored_values
from tests.support.older_sets import SCENE, make_sen12ms, make_v1
from tests.support.packing import entries, members, packed, split, write
from tests.support.published_forms import OTHER_RECORDS, TREES
from tests.support.synthetic import Row

pytestmark = pytest.mark.slow

S1, S2, MAPS = "BigEarthNet-S1", "BigEarthNet-S2", "Reference_Maps"
Command = Callable[..., Ended]


def refusal(dataset: str, source: Path, root: Path) -> str:
    """The sentence with which a conversion is refused; the dry run has the same."""
    sentences = []
    for call in (convert, dry_run):
        with pytest.raises(SourceError) as error:
            call(dataset, source, root / "store", workers=0)
        sentences.append(str(error.value))
    assert sentences[0] == sentences[1]
    return sentences[0]


# Folders inside and above


@pytest.mark.parametrize("deep", ["a", "a/b", "ds/images/remote_sensing/otherDatasets/s2/tif"])
def test_a_data_set_further_down_is_found(tmp_path: Path, patchpress: Command, deep: str) -> None:
    place = tmp_path / "given" / deep
    place.parent.mkdir(parents=True)
    TREES["eurosat"].write(place)
    (tmp_path / "given" / "LICENSE").write_bytes(b"x")
    said = f"{place} looks like eurosat (s2): give that folder"
    assert said in refusal("eurosat", tmp_path / "given", tmp_path)
    assert said in refusal(DATASET, tmp_path / "given", tmp_path)
    ended = patchpress("datasets", "--guess", tmp_path / "given")
    assert ended.code == 0
    assert ended.out == f"eurosat  {place} (s2): give that folder\n"


@pytest.mark.parametrize("deep", [S2, f"{S2}/PRODUCT", f"{S2}/PRODUCT/PATCH"])
def test_a_data_set_above_is_found(raw: Path, tmp_path: Path, deep: str) -> None:
    product = next((raw / S2).iterdir())
    patch = next(product.iterdir())
    source = raw / deep.replace("PRODUCT", product.name).replace("PATCH", patch.name)
    said = f"{raw} looks like bigearthnet-v2 (s2): give that folder, which is above"
    assert said in refusal(DATASET, source, tmp_path)


def test_another_data_set_is_named(made_tree: tuple[Path, list[Row]], tmp_path: Path) -> None:
    make_v1(tmp_path / "v1", *made_tree)
    assert "it looks like bigearthnet-v1" in refusal(DATASET, tmp_path / "v1", tmp_path)
    assert "it looks like bigearthnet-v2" in refusal("eurosat", made_tree[0], tmp_path)
    assert "it looks like bigearthnet-v2" in refusal("bigearthnet-v1", made_tree[0], tmp_path)


def test_a_store_is_no_source(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    made(raw, tmp_path / "ben.store", limit=1)
    said = f"{tmp_path}/ben.store is a store, made by a conversion, and no source"
    assert said in refusal(DATASET, tmp_path / "ben.store", tmp_path)
    assert said in refusal("eurosat", tmp_path / "ben.store", tmp_path)
    assert patchpress("datasets", "--guess", tmp_path / "ben.store").out == f"{said}\n"
    (tmp_path / "ben.store" / "manifest.json").unlink()
    assert "is an LMDB (data.mdb), not a source: `patchpress index" in refusal(
        DATASET, tmp_path / "ben.store", tmp_path
    )


@pytest.mark.parametrize("name", TREES)
def test_every_published_form_fits_its_own_description_alone(tmp_path: Path, name: str) -> None:
    fits = [name, *OTHER_RECORDS.get(name, [])]
    assert list(fitting(TREES[name].write(tmp_path / "source"))) == fits


def test_labels_that_are_no_classes_are_another_data_set(tmp_path: Path) -> None:
    (tmp_path / "pets" / "Dog").mkdir(parents=True)
    (tmp_path / "pets" / "Dog" / "Dog_1.tif").write_bytes(b"x")
    assert fitting(tmp_path / "pets") == {}
    assert sights(tmp_path) == []


# Archives of any name


def test_an_archive_of_any_name_is_known_by_its_contents(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "packed"
    packed(raw, source, "tar.zst")
    names = {S1: "s1_grd.tar.gz", S2: "0123456789abcdef0123456789abcdef", MAPS: "maps.bin"}
    for name, new in names.items():
        (source / f"{name}.tar.zst").rename(source / new)
    said = refusal(DATASET, source, tmp_path)
    assert f"{source / names[S2]} looks like bigearthnet-v2 (s2): give --path s2=" in said
    found = {sight.what: sight.place.name for sight in sights(source)}
    assert found == {"s2": names[S2], "s1": names[S1], "map": names[MAPS]}
    paths = {what: source / place for what, place in found.items()}
    made(source, tmp_path / "store", paths=paths)
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")


def test_an_archive_named_by_its_published_md5_is_not_even_read(tmp_path: Path) -> None:
    digest = find_description(DATASET).md5[f"{S2}.tar.zst"]
    (tmp_path / digest).write_bytes(b"x")
    (sight,) = sights(tmp_path)
    assert sight.sentence().endswith(f"rename it to {S2}.tar.zst")


def test_parts_of_an_archive_of_any_name_are_one(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    (source / f"{S1}.tar").rename(source / "radar.tar")
    split(source / "radar.tar", 4, lambda at: f".part{at + 1:02}")
    (sight,) = [sight for sight in sights(source, find_description(DATASET)) if sight.what == "s1"]
    assert sight.place.name == "radar.tar.part01"
    with pytest.warns(SourceIncomplete, match="s1 is not in .* give --path s1=.*radar.tar.part01"):
        made(source, tmp_path / "store")


def test_an_archive_given_as_the_source_is_recognised(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar.gz")
    path = (source / f"{S1}.tar.gz").rename(source / "download")
    with pytest.raises(SourceMissing, match=rf"is an archive.*--path s1={path}"):
        made(path, tmp_path / "store")
    (source / "page").write_text("<html>")
    with pytest.raises(SourceMissing, match=r"is a web page \(HTML\), not a folder"):
        made(source / "page", tmp_path / "store")


# Names that nearly fit

NEAR: dict[str, tuple[str, str]] = {
    "bigearthnet-s2.tar": ("rename it, or give --path s2=", "another case"),
    f"{S2}-v1.0.tar": ("rename it, or give --path s2=", "a version"),
    f"{S2} (1).tar": ("rename it, or give --path s2=", "a second download"),
    f"{S2}.TAR": ("rename it, or give --path s2=", "capitals in the ending"),
    f"{S2}.Tar.Gz": ("rename it, or give --path s2=", ""),
    f"{S2}.tar.lz": (".tar.lz is not read, unpack it and give the folder", ""),
    f"{S2}.rar": (".rar is not read, unpack it", ""),
    f"{S2}-v2.zip": ("rename it, or give --path s2=", "a version"),
    f"{S2}.z01": ("unpack it", "a part of a zip archive"),
    f"{S2}.7z.001": ("unpack it", ""),
    f"{S2}.tar.part": ("its download did not end", ""),
    f"{S2}.tar.gz.crdownload": ("its download did not end", ""),
    f"{S2}-v1.0/": ("rename it to BigEarthNet-S2, or give --path s2=", ""),
    "BigEarthNet_s2/": ("rename it to BigEarthNet-S2, or give --path s2=", ""),
    f"unpacked/{S2}/": ("give --path s2=", "a folder in between"),
    "optical/": ("looks like bigearthnet-v2 (s2): give --path s2=", "by its contents"),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_name_that_nearly_fits_the_first_modality_is_an_error(
    raw: Path, tmp_path: Path, name: str
) -> None:
    if name.endswith("/"):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / S2).rename(raw / name)
    else:
        shutil.rmtree(raw / S2)
        (raw / name).write_bytes(b"x")
    sentence = refusal(DATASET, raw, tmp_path)
    start = "s2, which names the patches, is not in "
    assert sentence.startswith(f"{start}{raw}, but {raw / name} ")
    assert NEAR[name][0] in sentence
    assert sentence.endswith("to convert without it, give --modality s1 --modality map")


def test_a_name_that_nearly_fits_another_modality_is_a_warning(raw: Path, tmp_path: Path) -> None:
    (raw / S1).rename(raw / f"{S1}-v1.0")
    ended = command("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
    said = f"s1 is not in {raw}, but {raw / S1}-v1.0 nearly fits: rename it to {S1}, or give --path"
    assert ended.code == 0
    assert said in ended.err
    assert said in ended.out


def test_names_of_other_things_are_not_near(raw: Path, tmp_path: Path) -> None:
    shutil.rmtree(raw / S1)
    for name in (f"{S1}.md5", f"{S1}.txt", "README", "BigEarthNet.pdf"):
        (raw / name).write_bytes(b"x")
    (raw / "S1-of-something").mkdir()
    report = made(raw, tmp_path / "store")
    assert report.absent == ("s1",)
    assert report.notes == []


def test_an_absent_first_modality_cannot_be_missed(raw: Path, tmp_path: Path) -> None:
    shutil.rmtree(raw / S2)
    ended = command("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
    said = "s2, which names the patches, is not in "
    assert ended.code == 0
    assert ended.err.startswith(f"patchpress: {said}")
    assert said in ended.out
    words = ("--modality", "s1", "--modality", "map", "--workers", 0)
    ended = command("convert", DATASET, raw, tmp_path / "other", *words)
    assert (ended.code, ended.err) == (0, "")
    assert said not in ended.out


# A folder beside its own archives


@pytest.mark.parametrize("kept", [("s2", "s1", "lc"), ("s1",)])
def test_a_folder_is_taken_for_each_archive(tmp_path: Path, kept: tuple[str, ...]) -> None:
    """SEN12MS unpacked in place, and the archives kept: each is read once."""
    raw, summer = tmp_path / "raw", "ROIs1868_summer"
    make_sen12ms(raw, scenes=(1,), patches=2)
    shutil.copytree(raw, tmp_path / "whole")
    for path in sorted((tmp_path / "whole" / SCENE).rglob("*"), key=str):
        new = Path(str(path).replace(SCENE, summer))
        if path.is_dir():
            new.mkdir(parents=True)
        else:
            shutil.copy(path, new)
    for scene, source in ((SCENE, raw), (summer, tmp_path / "whole")):
        for kind in ("s2", "s1", "lc"):
            if scene == summer or kind in kept:
                names = [name for name in members(source, scene) if f"_{kind}_" in name]
                write(raw / f"{scene}_{kind}.tar.gz", entries(source, names))
    report = convert("sen12ms", raw, tmp_path / "store", workers=0)
    convert("sen12ms", tmp_path / "whole", tmp_path / "other", workers=0)
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "other")
    assert sorted(report.notes) == sorted(
        f"{raw}/{SCENE}/{kind}_1 is read, not {SCENE}_{kind}.tar.gz, which was unpacked there"
        for kind in kept
    )
    assert all(note in report.text() for note in report.notes)


def test_a_folder_and_an_archive_beside_it_are_told(raw: Path, tmp_path: Path) -> None:
    packed(raw, tmp_path / "packed", "tar")
    shutil.copy(tmp_path / "packed" / f"{S2}.tar", raw)
    shutil.copy(tmp_path / "packed" / f"{S1}.tar", raw)
    shutil.rmtree(raw / S1)
    (raw / S1).mkdir()  # unpacking it did not get far
    report = made(raw, tmp_path / "store")
    assert report.notes == [
        f"{raw / S2} is read, not {S2}.tar beside it",
        f"{raw / S1} has no patch: {S1}.tar is read",
    ]
    made(tmp_path / "packed", tmp_path / "other")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "other")


@pytest.mark.parametrize("name", [S2, f"{S2}.tar.zst"])
def test_a_link_that_leads_nowhere_is_named(raw: Path, tmp_path: Path, name: str) -> None:
    shutil.rmtree(raw / S2)
    (raw / name).symlink_to(tmp_path / "unmounted")
    assert refusal(DATASET, raw, tmp_path).startswith(
        f"{raw / name} is a link to {tmp_path}/unmounted, which is not there"
    )


# Names of data sets


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BigEarthNet-V2", "bigearthnet-v2"),
        ("bigearthnet_v2", "bigearthnet-v2"),
        ("bigearthnet v2", "bigearthnet-v2"),
        ("reBEN", "bigearthnet-v2"),
        ("ben", "bigearthnet-v2"),
        ("BigEarthNet-MM", "bigearthnet-v1"),
        ("UCMerced", "uc-merced"),
        ("SSL4EO_S12", "ssl4eo-s12"),
        ("Major TOM", "major-tom-core"),
    ],
)
def test_names_of_data_sets_in_any_spelling(
    patchpress: Command, tmp_path: Path, name: str, meant: str
) -> None:
    assert find_description(name).dataset.name == meant
    ended = patchpress("datasets", "--show", name)
    assert f'name = "{meant}"' in ended.out


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(DescriptionError, match="nearest are 'bigearthnet-v2', 'bigearthnet-v1'"):
        find_description("bigearthnet")
    with pytest.raises(DescriptionError, match="nearest is 'eurosat'"):
        find_description("EuroSATs")
    with pytest.raises(DescriptionError, match="there are ben-ge, bigearthnet-v1, .*uc-merced"):
        find_description("qqq")


def test_no_two_data_sets_share_a_name() -> None:
    def spelt(name: str) -> str:
        return "".join(letter for letter in name.lower() if letter.isalnum())

    names = [*built_in_descriptions(), *built_in_aliases()]
    assert len({spelt(name) for name in names}) == len(names)


def test_an_archive_is_not_read_through_to_guess_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any.tar"
    info = tarfile.TarInfo("first.bin")
    info.size = 4 << 30
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 512 + info.size)  # takes no room
    with path.open("ab") as file:
        file.write(tarfile.TarInfo("second.bin").tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert first_files(Archive((path,))) == ["first.bin"]


def test_of_two_archives_of_one_name_the_one_that_is_read_is_told(
    raw: Path, tmp_path: Path
) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    shutil.copy(source / f"{S2}.tar", source / f"{S2}.tgz")
    ended = command("convert", DATASET, source, tmp_path / "store", "--dry-run")
    assert f"{S2}.tar is read, not {S2}.tgz beside it" in ended.out
