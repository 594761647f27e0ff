"""The log of stored records: what it keeps, and what it forgets."""

import math

import numpy as np

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.recordlog import RecordLog

GROUND = Ground(32633, 1.5, 2.5, 3.5, 4.5)


def patch(name: str, identity: str = "") -> Patch:
    return Patch(modality="s2", key=name, name=name, identity=identity, values=())


def filled() -> RecordLog:
    log = RecordLog(["labels", "row"], identity="row")
    log.add(patch("a", "A"), Encoded(3, 2**64 - 1, GROUND, (("x", "y"), "ignored")))
    log.add(patch("b"), Encoded(3, 10, None, (("x",), "B")))
    log.add(patch("ü", "A"), Encoded(3, 11, Ground(None, *GROUND[1:]), ((), "C")))
    return log


def test_a_log_gives_back_what_was_added() -> None:
    log = filled()
    assert len(log) == 3
    assert log.names().to_pylist() == ["a", "b", "ü"]
    assert log.identities().to_pylist() == ["A", "B", "A"]
    assert log.checksums().to_pylist() == ["f" * 16, f"{10:016x}", f"{11:016x}"]
    assert log.values("labels").to_pylist() == [["x", "y"], ["x"], []]
    assert log.grounds()["epsg"].tolist() == [32633, 0, 0]
    assert log.grounds()["epsg"].dtype == np.int32
    assert log.grounds()["bounds"][[0, 2]].tolist() == [list(GROUND[1:])] * 2
    assert all(math.isnan(side) for side in log.grounds()["bounds"][1])


def test_a_log_grows_while_its_arrays_are_in_use() -> None:
    log = filled()
    before = (
        log.names(),
        log.identities(),
        log.checksums(),
        log.grounds(),
    )
    log.add(patch("c", "A"), Encoded(3, 12, GROUND, ((), "D")))
    assert len(log) == 4
    assert all(len(values) == 3 for values in before)


def test_records_of_a_row_are_removed() -> None:
    log = filled()
    log.remove_rows({"A", "unknown"})
    assert len(log) == 1
    assert log.names().to_pylist() == ["b"]
    assert log.checksums().to_pylist() == [f"{10:016x}"]
    assert log.values("labels").to_pylist() == [["x"]]
    log.add(patch("c", "A"), Encoded(3, 12, GROUND, ((), "D")))
    assert log.identities().to_pylist() == ["B", "A"]
    assert log.grounds()["epsg"].tolist() == [0, 32633]
