"""What a record of another program is: which modality it has, in which layout, of which patch."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.expressions import expression
from patchpress.converter.descriptions.patterns import key_pattern
from patchpress.converter.sources.patch import Patch, named_patch
from patchpress.converter.storage.new_manifest import stored_modality
from patchpress.readers.errors import SourceError, StoreDamaged
from patchpress.readers.format.compression import NONE, Decompressor, codec_of
from patchpress.readers.format.modality import Modality, matching
from patchpress.readers.format.record import Form, form_in

NAMELESS = "with keys that end in a zero byte"
"""What a value is whose key cannot be a name."""
LAYOUTS = ("native", "stacked")
_BETWEEN_UNDERSCORES = re.compile(r"__\w*__")


@dataclass(frozen=True, slots=True)
class AdoptedRecord:
    """What a record is."""

    modality: Modality
    """With the layout that the record has."""
    patch: Patch
    pixels: int
    """The byte at which its first band begins."""


@dataclass(frozen=True, slots=True)
class OtherRecord:
    """What a value is that is no record of the dataset, neither by its name nor by its tensors.

    Programs keep such values beside their records: a count, a list of keys, a pickled object.
    """

    why: str
    """What it is instead, in a few words."""


class RecordIdentifier:
    """Tells what records are, by their tensors and then by their keys."""

    def __init__(
        self, data: Path, description: Description, known: Sequence[Modality] | None = None
    ) -> None:
        """Know the modalities of a description in every layout, without compression.

        Args:
            data: the file that the records come from, for sentences about them.
            description: of the dataset.
            known: the modalities as they are stored, if that is known.
        """
        self._data, self._description = data, description
        modalities = description.modalities
        self._key_patterns = {name: key_pattern(m) for name, m in modalities.items()}
        self._known = list(known) if known is not None else _in_every_layout(description)
        compressed = known and any(m.compression.codec != "none" for m in known)
        self._decompress = Decompressor() if compressed else None
        self._matching: dict[bytes, list[Modality]] = {}
        """Header -> the modalities whose records begin with it."""

    def identify(self, name: bytes, value: memoryview) -> AdoptedRecord | OtherRecord:
        """What a record is.

        Raises:
            SourceError: it has the name or the tensors of a record, but not both, or may be two
                things.
        """
        if _BETWEEN_UNDERSCORES.fullmatch(name.decode(errors="replace")):
            return OtherRecord("with names like __len__")
        try:
            form = form_in(self.plain(value))
        except StoreDamaged:
            if not self._is_patch(name):
                return OtherRecord("that are no safetensors")
            raise self.foreign(name, self._not_safetensors(value)) from None
        modalities = self._matching.get(form.header)
        if modalities is None:
            modalities = self._matching[form.header] = list(matching(self._known, form))
        if not modalities:
            if not self._is_patch(name):
                return OtherRecord("with other tensors")
            raise self.foreign(name, self._tensors_of(form))
        try:
            key = name.decode()
        except UnicodeDecodeError:
            raise self.foreign(name, "its name is no text") from None
        found = list(self._named(modalities, key))
        names = " or ".join(modality.name for modality in modalities)
        if not found:
            raise self.foreign(name, f"it has the tensors, but not the name, of {names}")
        if len(found) > 1:
            raise self.foreign(name, f"it may be of {names} alike")
        modality, fields = found[0]
        source = self._description.modalities[modality.name]
        if source.is_dated:
            # The key names the place: of its dates nothing is known.
            fields = defaultdict(str, fields)
        patch = named_patch(source, fields)
        first = form.tensor(modality.bands[0].name) or form.tensors[0]
        return AdoptedRecord(modality, patch, len(form.header) + first.offset)

    def plain(self, value: memoryview) -> memoryview:
        """The bytes of a record before it was compressed, if the store's records may be.

        They are valid until the next call.

        Raises:
            StoreDamaged: it cannot be decompressed.
        """
        return value if self._decompress is None else self._decompress(value)

    def _is_patch(self, name: bytes) -> bool:
        """Whether a key is the name of a patch."""
        key = name.decode(errors="backslashreplace")
        return next(self._named(self._known, key), None) is not None

    def _not_safetensors(self, value: memoryview) -> str:
        if codec_of(value) != NONE:
            return (
                "it is compressed, and how is told by the manifest.json of its store: copy that "
                f"and metadata.parquet to {self._data.parent}, and leave --dataset out"
            )
        return "it is no safetensors"

    def _named(
        self, modalities: list[Modality], key: str
    ) -> Iterator[tuple[Modality, dict[str, str]]]:
        """The modalities that a key may be of, and what it says of the patch for each."""
        for modality in modalities:
            match = self._key_patterns[modality.name].fullmatch(key)
            if match is None:
                continue
            source = self._description.modalities[modality.name]
            found = match.groupdict()
            # A field may be inside of another, whose pattern says less of it.
            if all(
                expression(source.fields[name], limited=source.limited).fullmatch(value)
                for name, value in found.items()
                if name in source.fields and value is not None
            ):
                yield modality, found

    def _tensors_of(self, form: Form) -> str:
        """What a record holds that is of no modality, in a few words."""
        shapes = _shapes(form)
        for modality in self._known:
            if shapes == _shapes(modality.form):
                return (
                    f"its tensors are those of {modality.name} in another order or with other "
                    "metadata, which only converting again can mend"
                )
        shown = [f"{t.name} {t.dtype.name} {list(t.shape)}" for t in form.tensors[:3]]
        more = f" and {len(form.tensors) - 3} more" if len(form.tensors) > 3 else ""
        return f"it has the tensors {', '.join(shown) or 'of none'}{more}"

    def foreign(self, name: bytes, why: str) -> SourceError:
        """The error for a record that is not of this dataset."""
        key = name.decode(errors="backslashreplace")
        return SourceError(
            f"record {key!r} of {self._data} is none of {self._description.dataset.name} ({why}): "
            "choose another --dataset, or describe your own in a TOML file"
        )


def _shapes(form: Form) -> dict[str, tuple[object, tuple[int, ...]]]:
    return {tensor.name: (tensor.dtype, tensor.shape) for tensor in form.tensors}


def _in_every_layout(description: Description) -> list[Modality]:
    return [
        stored_modality(description, name, layout=layout)
        for name in description.modalities
        for layout in LAYOUTS
    ]
