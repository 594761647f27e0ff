"""Where patches lie whose key is there twice: both places are looked up when one is met again."""

from collections.abc import Mapping, Sequence

from patchpress.converter.sources.archives import ArchiveStream
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.walks import PatchWalk
from patchpress.readers.errors import PatchError


class Places:
    """Tells where patches lie, from the walks and streams that gave them.

    It costs nothing until it is asked. Then folders are walked once more.
    """

    def __init__(self, walks: Mapping[str, PatchWalk], streams: Sequence[ArchiveStream]) -> None:
        self._walks, self._streams = walks, streams
        self._in_folders: dict[str, dict[str, list[str]]] = {}  # modality -> key -> places

    def twice(self, patch: Patch) -> PatchError:
        """The error of a patch whose key has come before."""
        return self.twice_named(patch.modality, patch.key, _place(patch))

    def twice_named(self, modality: str, key: str, again: str = "") -> PatchError:
        """The error of a patch that is there twice, `again` being the second place, if known."""
        places = self._places(modality, key, again)
        if again:
            places.append(again)
        shown = f", in {' and in '.join(places)}" if places else ""
        return PatchError(f"the patch {key} is there twice{shown}: remove one of the two")

    def _places(self, modality: str, key: str, again: str) -> list[str]:
        """Where a patch lies, but for the place that is known."""
        places = [place for place in self._folders(modality).get(key, ()) if place != again]
        number = hash(key)
        for stream in self._streams:
            if modality not in (one.name for one in stream.modalities):
                continue
            for archive, keys in stream.come:
                count = keys.count(number)
                is_own = again.startswith(f"{archive}/")
                places += [f"{archive}"] * (min(count, 2) - (is_own and count > 0))
        return places[: 1 if again else 2]

    def _folders(self, modality: str) -> dict[str, list[str]]:
        if modality not in self._in_folders:
            found: dict[str, list[str]] = {}
            walk = self._walks.get(modality)
            if walk is not None:
                for patch in walk.again():
                    found.setdefault(patch.key, []).append(_place(patch))
            self._in_folders[modality] = found
        return self._in_folders[modality]


def _place(patch: Patch) -> str:
    """The folder or file that a patch is."""
    return patch.folder if patch.apart or not patch.before else patch.path(patch.before)
