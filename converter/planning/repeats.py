"""Which patches of a source come twice, found while they come."""

from array import array

from patchpress.converter.sources.patch import Patch


class Repeats:
    """Notes the keys of patches, by their hashes: 8 bytes each as long as they come in order."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # modality -> its last key
        self._ordered: dict[str, array[int]] = {}
        self._mixed: dict[str, set[int]] = {}

    def add(self, patch: Patch) -> bool:
        """Note a patch; gives whether its key has come before."""
        name, key = patch.modality, patch.key
        number = hash(key)
        mixed = self._mixed.get(name)
        if mixed is None:
            if name not in self._last or key > self._last[name]:
                self._last[name] = key
                self._ordered.setdefault(name, array("q")).append(number)
                return False
            mixed = self._mixed[name] = set(self._ordered.pop(name))
        if number in mixed:
            return True
        mixed.add(number)
        return False
