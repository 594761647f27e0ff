"""Before any work: all workers have the client's versions, and see the same disks."""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.cluster.on_worker import Visible, difference, look, versions
from patchpress.readers.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client


def require_same_versions(client: "Client") -> None:
    """Compare what decides bytes on all workers with this process.

    Raises:
        ClusterError: a worker has another version, or none.
    """
    # First by what any Python has: another version of this package may lack what is asked next.
    own = version("patchpress")
    for address, found in _on_all(client, version, "patchpress").items():
        if isinstance(found, PackageNotFoundError):
            raise ClusterError(
                f"worker {address} has no patchpress: install version {own} in its environment"
            )
        if found != own:
            raise ClusterError(
                f"worker {address} has patchpress {_said(found)}, and this client {own}: give all "
                "workers the same version"
            )
    for address, found in _on_all(client, versions).items():
        if found != versions():
            what = difference(found, versions()) if isinstance(found, dict) else _said(found)
            raise ClusterError(f"worker {address} has {what}: give all workers the same versions")


def require_same_sight(
    client: "Client", store: Path, sources: Iterable[Path], scratch: Path | None
) -> None:
    """Make sure that all workers see the source, and may write where this process does.

    Args:
        client: of the scheduler.
        store: a folder that this process has made; a file beside it is written and removed.
        sources: folders and files that workers read.
        scratch: the folder on each worker's disk; None for the worker's own.

    Raises:
        ClusterError: a worker sees another disk at one of the paths.
    """
    seen = [(str(path), path.stat().st_size if path.is_file() else None) for path in sources]
    with _token(store) as (token, content):
        visible = Visible(
            token=str(token),
            content=content,
            folder=str(store.absolute()),
            scratch=None if scratch is None else str(scratch),
            sources=seen,
        )
        answers = _on_all(client, look, visible)
    wrong = {address: found for address, found in answers.items() if found}
    if not wrong:
        return
    address, found = next(iter(wrong.items()))
    what = found[0] if isinstance(found, list) else f"cannot look ({_said(found)})"
    others = f" ({len(wrong)} of {len(answers)} workers)" if len(answers) > 1 else ""
    raise ClusterError(
        f"worker {address} {what}{others}: give paths on a disk that all workers share"
    )


@contextmanager
def _token(store: Path) -> Iterator[tuple[Path, str]]:
    """A file beside the store, with a content that nobody else has; removed afterwards."""
    content = secrets.token_hex(16)
    token = store.absolute().parent / f".{store.name}.{content[:8]}.token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        os.write(descriptor, content.encode())
        os.fsync(descriptor)
        os.close(descriptor)
        yield token, content
    finally:
        with suppress(OSError):
            token.unlink()


def _on_all(client: "Client", function: Any, *args: Any) -> Mapping[str, Any]:
    """Address of a worker -> what the function gave there, or the exception.

    Raises:
        ClusterError: a worker, or the scheduler, is gone meanwhile.
    """
    try:
        found: Mapping[str, Any] = client.run(function, *args, on_error="return")
    except OSError as error:
        raise ClusterError(
            f"a worker or the scheduler is gone ({error}): run the same command again"
        ) from None
    return found


def _said(found: object) -> str:
    return str(found).strip() or type(found).__name__
