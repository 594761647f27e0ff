"""The modules whose tests are tried by mutants, and those tests."""

from typing import NamedTuple


class Mutated(NamedTuple):
    """Files of one subject, and the tests that must notice if they are wrong."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


MODULES = {
    "record": Mutated(
        ("readers/format/record.py", "readers/format/zstd_frame.py"),
        (
            "tests/readers/format/test_record.py",
            "tests/readers/format/test_record_damage.py",
            "tests/readers/format/test_stack.py",
            "tests/readers/format/test_any_bytes.py",
        ),
    ),
    "raster": Mutated(
        ("converter/encoding/raster.py",),
        (
            "tests/converter/encoding/test_raster.py",
            "tests/converter/encoding/test_raster_damage.py",
            "tests/converter/encoding/test_directory_damage.py",
            "tests/converter/encoding/test_bombs.py",
        ),
    ),
    "writer": Mutated(
        (
            "converter/storage/writer.py",
            "converter/storage/pages.py",
            "converter/storage/pagedfile.py",
        ),
        (
            "tests/converter/storage/test_writer.py",
            "tests/converter/storage/test_pages.py",
            "tests/converter/storage/test_journal.py",
            "tests/converter/storage/test_readback.py",
            "tests/converter/storage/test_resume.py",
        ),
    ),
    "btree": Mutated(
        ("readers/format/btree.py",),
        (
            "tests/readers/format/test_btree.py",
            "tests/readers/format/test_any_bytes.py",
            "tests/readers/access/test_data_files.py",
        ),
    ),
}
