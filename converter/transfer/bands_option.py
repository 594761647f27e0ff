"""The option --bands: as functions take it, and as words of a command again."""

from collections.abc import Mapping, Sequence

from patchpress.readers.choice import Bands
from patchpress.readers.errors import OptionError


def band_words(bands: Bands) -> list[str]:
    """What stands after each --bands that asks for these bands; nothing for all."""
    if bands is None:
        return []
    if isinstance(bands, Mapping):
        return [f"{name}={_joined(of)}" for name, of in bands.items()]
    return [_joined(bands)]


def _joined(bands: str | Sequence[str]) -> str:
    return bands if isinstance(bands, str) else ",".join(bands)


def parse_bands(entries: Sequence[str]) -> Bands:
    """Options --bands as `copy_store` takes them: names, a set, or either for each modality.

    Raises:
        OptionError: entries with and without a modality, or one modality twice.
    """
    if not entries:
        return None
    if all("=" in entry for entry in entries):
        found: dict[str, str | Sequence[str]] = {}
        for entry in entries:
            name, _, bands = entry.partition("=")
            if name in found:
                raise OptionError(f"--bands names {name} twice: give its bands together")
            found[name] = _one_or_more([bands])
        return found
    if any("=" in entry for entry in entries):
        raise OptionError(
            f"--bands {' and '.join(entries)}: give a modality to each, as in s2=B04,B03, or to "
            "none"
        )
    return _one_or_more(entries)


def _one_or_more(entries: Sequence[str]) -> str | list[str]:
    names = [name.strip() for entry in entries for name in entry.split(",")]
    return names[0] if len(names) == 1 else names
