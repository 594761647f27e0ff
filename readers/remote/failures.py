"""What went wrong with a request, from an error of obstore; nothing secret of it is shown."""

import re
from dataclasses import dataclass

from patchpress.readers.errors import StoreDamaged, StoreError, StoreMissing, StoreUnreadable

_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+?)(?=:|\s*$|\s*\n)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_OWN_ADDRESSES = ("169.254.169.254", "metadata.google.internal")
CREDENTIALS = (
    "set them in the environment as obstore takes them (AWS_ACCESS_KEY_ID, …), or give "
    "storage_options (skip_signature=True for a public bucket)"
)


@dataclass(frozen=True)
class Failure:
    """A request that failed."""

    kind: str
    """``absent``, ``bucket``, ``refused``, ``range``, ``short``, ``option`` or ``other``."""
    reason: str
    """In a few words."""

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.kind == "other"


def failure(error: Exception) -> Failure:
    """What an error of obstore means."""
    text, name = str(error), type(error).__name__
    status, code = _STATUS.search(text), _CODE.search(text)
    reason = " ".join(filter(None, [status and status[1].strip(), code and code[1]]))
    if isinstance(error, FileNotFoundError) or name == "NotFoundError":
        return Failure("bucket" if code and code[1] in _NO_BUCKET else "absent", reason)
    if any(address in text for address in _OWN_ADDRESSES):
        return Failure("refused", "no credentials were found")
    if isinstance(error, PermissionError) or (status and status[1][:3] in ("401", "403")):
        return Failure("refused", reason)
    if status and status[1].startswith("416"):
        return Failure("short", reason)
    if name == "NotSupportedError":
        return Failure("range", "it answers with the whole file")
    if name in ("UnknownConfigurationKeyError", "InvalidPathError"):
        return Failure("option", text.partition("\n")[0])
    return Failure("other", reason or _kind_of(text))


def _kind_of(text: str) -> str:
    """Why there was no answer, from the details that obstore prints after its first line."""
    for word, meaning in (
        ("kind: Timeout", "it took too long"),
        ("TimedOut", "it took too long"),
        ("dns error", "the name of the host is not known"),
        ("kind: Connect", "no connection to the server"),
        ("IncompleteMessage", "the connection ended in the middle"),
        ("kind: Interrupted", "the connection ended in the middle"),
        ("kind: Body", "the connection ended in the middle"),
        ("kind: Decode", "the connection ended in the middle"),
    ):
        if word in text:
            return meaning
    return "it was not answered"


def sentence(found: Failure, url: str, name: str, attempts: int) -> StoreError:
    """The error for a file of a store that cannot be had.

    Args:
        found: what went wrong.
        url: of the store, as it is shown.
        name: of the file in the store.
        attempts: how often it was asked for.
    """
    file, why = f"{url}/{name}", f" ({found.reason})" if found.reason else ""
    if found.kind == "bucket":
        return StoreMissing(f"there is no bucket for {url}{why}: correct its name, or make it")
    if found.kind == "absent":
        return StoreMissing(f"there is no {file}{why}: correct the URL, or copy the store again")
    if found.kind == "refused":
        return StoreUnreadable(f"access to {file} is refused{why}: {CREDENTIALS}")
    if found.kind == "range":
        return StoreUnreadable(
            f"the server of {url} does not answer requests for a part of a file{why}: use one that "
            "does (nginx, Apache, Caddy), or copy the store to a disk"
        )
    if found.kind == "short":
        return StoreDamaged(f"{file} is shorter than the store says{why}: copy the store again")
    if found.kind == "option":
        return StoreUnreadable(f"{url} cannot be opened: {found.reason}")
    return StoreUnreadable(
        f"{file} cannot be read: the request failed {attempts} times, at last since "
        f"{found.reason}; try again when the server answers"
    )
