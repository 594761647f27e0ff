"""``[modalities.NAME.parquet]``: the files of a modality may lie in a column of Parquet tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from patchpress.converter.descriptions.strict import Section


@dataclass(frozen=True, slots=True)
class EmbeddedFiles:
    """Parquet files of which each row is a patch, with the bytes of its files in columns."""

    files: tuple[str, ...]
    """Their paths under the source, with `*` for any part of a name."""
    column: str
    """The column of a file: `{band}` or `{file}` stands for the name of the file."""
    fields: Mapping[str, str]
    """Field of the description -> the column with its value."""

    def column_of(self, name: str) -> str:
        """The column with the file of this name: that of a band, or of several."""
        return self.column.replace("{band}", name).replace("{file}", name)


def parse_embedded(section: Section) -> EmbeddedFiles | None:
    """Read the table; None if there is none.

    Raises:
        DescriptionError: a wrong key.
    """
    if not section.keys:
        return None
    files = tuple(section.inside("files", one) for one in section.string_or_strings("files"))
    column = section.take("column", str, "{band}")
    embedded = EmbeddedFiles(files, column, section.mapping("fields"))
    if not files:
        raise section.error("files", "must name at least one path, such as images/*.parquet")
    if not embedded.fields:
        raise section.error("fields", "must name the columns that tell a patch's name")
    section.end()
    return embedded
