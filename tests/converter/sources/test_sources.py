"""The patches of folders come in key order; what is no patch is counted or reported."""

import shutil
from pathlib import Path

import pytest

from patchpress import convert, open_store
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import locate
from patchpress.converter.sources.order import patches_in_key_order, require_patches, walks_of
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.readers.errors import OptionError, PatchError, SourceError, SourceMissing
from tests.support.helpers import DATASET, described, made, patches


def walk(source: Path, modality: str = "s2") -> tuple[Walk, list[PatchError]]:
    problems: list[PatchError] = []
    source_of = described().modalities[modality]
    return Walk(source_of, source / source_of.folder, problems.append), problems


def test_patches_come_in_key_order_over_all_modalities(tree: Path) -> None:
    description = described()
    parts = locate(description, tree, {}, None)
    walks = walks_of(description, parts, lambda error: pytest.fail(str(error)))
    assert all(len(list(each)) == 15 for each in walks.values())
    keys = [patch.key for patch in patches_in_key_order(walks)]
    assert len(keys) == 45
    assert keys == sorted(keys, key=str.encode)


@pytest.mark.parametrize("modality", ["s2", "s1", "map"])
def test_a_walk_finds_every_patch_of_a_modality(tree: Path, modality: str) -> None:
    walked, problems = walk(tree, modality)
    found = list(walked)
    assert [patch.name for patch in found] == patches(tree, modality)
    assert (walked.passed_over.unmatched, walked.ascending, problems) == (0, True, [])
    for patch in found:
        assert Path(patch.folder).is_dir()
        assert patch.folder.endswith(patch.name)


def test_a_map_is_keyed_by_its_patch(tree: Path) -> None:
    (patch, *_) = walk(tree, "map")[0]
    assert patch.key == f"{patch.name}_reference_map"


def test_entries_that_are_no_patches_are_counted(raw: Path) -> None:
    root = raw / "BigEarthNet-S2"
    product, names = next(root.iterdir()), patches(raw, "s2")
    (root / ".DS_Store").write_bytes(b"")
    (root / "notes.txt").write_bytes(b"")
    (product / "S2A_of_no_patch").mkdir()
    walked, problems = walk(raw)
    assert [patch.name for patch in walked] == names
    assert walked.passed_over == PassedOver(
        2, [f"{product.name}/S2A_of_no_patch/", "notes.txt"], hidden=1
    )
    assert problems == []
    report = made(raw, raw.parent / "store")
    assert report.passed_over["s2"] == walked.passed_over
    assert f"that are no patches: 2 ({product.name}/S2A_of_no_patch/, notes.txt)" in report.text()
    assert "hidden files, passed over: 1" in report.text()


def test_a_file_named_as_a_product_is_passed_over(raw: Path) -> None:
    root = raw / "BigEarthNet-S2"
    shutil.rmtree(product := next(root.iterdir()))
    product.write_bytes(b"")
    walked, _ = walk(raw)
    assert all(product.name not in patch.folder for patch in walked)
    assert walked.passed_over.unmatched == 1


def misplace(raw: Path) -> str:
    """Move a patch into another product's folder; gives its name."""
    first, second, *_ = sorted((raw / "BigEarthNet-S2").iterdir())
    patch = next(first.iterdir())
    patch.rename(second / patch.name)
    return patch.name


def test_a_misplaced_patch_is_told_of(raw: Path) -> None:
    name = misplace(raw)
    walked, problems = walk(raw)
    assert name not in [patch.name for patch in walked]
    assert len(problems) == 1
    assert name in str(problems[0])
    assert "wrong folder" in str(problems[0])


def test_a_misplaced_patch_stops_a_conversion(raw: Path, tmp_path: Path) -> None:
    name = misplace(raw)
    with pytest.raises(PatchError, match=name):
        made(raw, tmp_path / "store")


def test_a_misplaced_patch_is_told_of_once_when_skipped(raw: Path, tmp_path: Path) -> None:
    name = misplace(raw)
    report = made(raw, tmp_path / "store", on_error="skip")
    assert len(report.skipped) == 1
    assert name in report.skipped[0]
    assert name not in open_store(tmp_path / "store")


def test_a_missing_source_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="nowhere does not exist.*BigEarthNet-S2"):
        made(tmp_path / "nowhere", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_file_as_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceMissing, match="is a file"):
        made(tmp_path / "file", tmp_path / "store")


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(SourceError, match="holds nothing"):
        made(tmp_path / "raw", tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("folder", ["BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"])
def test_an_empty_modality_is_refused(raw: Path, tmp_path: Path, folder: str) -> None:
    shutil.rmtree(raw / folder)
    (raw / folder).mkdir()
    with pytest.raises(SourceError, match=f"{folder} has no patch.*holds nothing"):
        made(raw, tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_another_dataset_is_refused(tmp_path: Path) -> None:
    patch = tmp_path / "raw" / "BigEarthNet-v1.0" / "S2A_MSIL2A_20170613T101031_26_57"
    patch.mkdir(parents=True)
    with pytest.raises(SourceError, match=r"holds BigEarthNet-v1.0"):
        made(tmp_path / "raw", tmp_path / "store")


def test_patches_of_another_version_are_refused(tmp_path: Path) -> None:
    patch = tmp_path / "raw" / "BigEarthNet-S2" / "S2A_MSIL2A_20170613T101031_26_57"
    patch.mkdir(parents=True)
    with pytest.raises(SourceError, match="S2A_MSIL2A_20170613T101031_26_57"):
        made(tmp_path / "raw", tmp_path / "store")
    parts = locate(described(), tmp_path / "raw", {}, None)
    with pytest.raises(SourceError, match="is expected"):
        require_patches(described(), parts)


def test_the_real_sample_of_version_1_is_refused(shared_data: Path, tmp_path: Path) -> None:
    sample = shared_data / "bigearthnet-v1" / "sample"
    with pytest.raises(SourceError):
        made(sample, tmp_path / "store")
    with pytest.raises(SourceError):
        made(sample, tmp_path / "store", paths={"s1": sample / "BigEarthNet-S1-v1.0"})


def test_parts_may_lie_elsewhere(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (raw / "BigEarthNet-S1").rename(tmp_path / "other" / "radar")
    (raw / "metadata.parquet").rename(tmp_path / "other" / "rows.parquet")
    paths = {"s1": tmp_path / "other" / "radar", "metadata": tmp_path / "other" / "rows.parquet"}
    report = made(raw, tmp_path / "store", paths=paths)
    assert report.records == {"s2": 5, "s1": 5, "map": 5}
    assert (report.absent, report.without_partner, report.without_row) == ((), {}, {})


def test_a_modality_may_be_absent(raw: Path, tmp_path: Path) -> None:
    shutil.rmtree(raw / "BigEarthNet-S1")
    report = made(raw, tmp_path / "store")
    assert report.records == {"s2": 5, "map": 5}
    assert report.absent == ("s1",)
    assert "not in the source  s1" in report.text()


@pytest.mark.parametrize("wanted", [("s1",), ("s1", "s2"), ("map",)])
def test_modalities_may_be_chosen(raw: Path, tmp_path: Path, wanted: tuple[str, ...]) -> None:
    report = made(raw, tmp_path / "store", modalities=wanted)
    assert set(report.records) == set(wanted)
    assert report.absent == ()


def test_a_chosen_modality_must_be_there(raw: Path, tmp_path: Path) -> None:
    shutil.rmtree(raw / "BigEarthNet-S1")
    with pytest.raises(SourceMissing, match="--path s1="):
        made(raw, tmp_path / "store", modalities=("s1", "s2"))


@pytest.mark.parametrize("name", ["s1", "metadata"])
def test_a_path_that_is_not_there_is_refused(raw: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceMissing, match="nowhere"):
        made(raw, tmp_path / "store", paths={name: tmp_path / "nowhere"})


def test_names_that_the_dataset_does_not_have_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="s3.*there are s2, s1, map"):
        made(raw, tmp_path / "store", paths={"s3": raw})
    with pytest.raises(OptionError, match="'s3'.*there are s2, s1, map"):
        made(raw, tmp_path / "store", modalities=("s3",))


def test_options_may_be_left_out(raw: Path, tmp_path: Path) -> None:
    assert convert(DATASET, str(raw), str(tmp_path / "store")).exit_code == 0
