"""The process of one contestant: it prepares, then answers each line of JSON with another one.

    python -m benchmarks.contestant CASE NAME SOURCES.json

It first says whether it can take part, and with which versions. Nothing but NumPy is needed to get
that far, so that a contestant may run in an environment of its own.
"""

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, TextIO

from benchmarks.adapters import PEERS
from benchmarks.adapters.protocol import Peer, Sources
from benchmarks.timing import answer


def load_sources(path: Path) -> Sources:
    """Read the list that says where everything is."""
    listed = json.loads(path.read_text())
    names = ("tree", "stacked", "native", "flat", "forms")
    return Sources(**{name: Path(listed[name]) for name in names}, keys=tuple(listed["keys"]))


def versions(peer: Peer) -> dict[str, str]:
    """Give the versions of Python and of what the contestant imports."""
    known = importlib.metadata.packages_distributions()
    found = {"python": platform.python_version()}
    for module in ("numpy", *peer.needs):
        for name in known.get(module, ())[:1]:
            found[name] = importlib.metadata.version(name)
    return found


def ready(peer: Peer, sources: Sources) -> str | None:
    """Let a contestant write its form and open it; give the reason if it cannot, or None."""
    reason = peer.available()
    if reason is None:
        try:
            peer.write(sources)
            peer.prepare(sources)
        except Exception as error:  # the table shows it
            reason = f"does not open: {type(error).__name__}: {error}"
    return reason


def main() -> None:
    """Prepare, then serve until the input ends."""
    case, name, path = sys.argv[1:]
    replies = private_stdout()
    peer = next(peer for peer in PEERS[case] if peer.name == name)
    sources = load_sources(Path(path))
    unavailable = ready(peer, sources)
    reply(replies, {"unavailable": unavailable, "versions": versions(peer)})
    if unavailable:
        return
    for line in sys.stdin:
        reply(replies, answer(peer, sources, json.loads(line)))


def private_stdout() -> TextIO:
    """Give the real stdout, for replies; what libraries print goes to stderr from now on."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def reply(replies: TextIO, value: Any) -> None:
    """Send one line."""
    print(json.dumps(value), file=replies, flush=True)


if __name__ == "__main__":
    main()
