"""The processes of contestants: starting one, asking it, ending it."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.adapters.protocol import Peer
from benchmarks.tree import REPOSITORY
from benchmarks.venvs import python_of

P = TypeVar("P", bound=Peer)


class Contestant(Generic[P]):
    """One contestant's process. It answers each line of JSON with one line of JSON."""

    def __init__(self, case: str, peer: P, sources: Path) -> None:
        self.peer = peer
        self.versions: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        python = python_of(peer.environment, sources.parent)
        if python is None:
            self.unavailable: str | None = (
                f"no environment {peer.environment}: python -m benchmarks environments"
            )
            return
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.contestant", case, peer.name, str(sources)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hello = self.answer()
        self.unavailable, self.versions = hello["unavailable"], hello["versions"]

    def answer(self) -> Any:
        """Wait for its next line of JSON."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.peer.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, do: str, **words: Any) -> Any:
        """Send one line and take the answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        print(json.dumps({"do": do, **words}), file=self.process.stdin, flush=True)
        return self.answer()

    def check(self, **words: Any) -> None:
        """Stop the run if values differ: a benchmark of wrong pixels is worth nothing.

        A contestant that cannot read at all is unavailable from then on.
        """
        if self.unavailable is not None:
            return
        wrong = self.ask("check", **words)
        if isinstance(wrong, dict):
            self.unavailable = wrong["fails"]
            return
        assert not wrong, f"{self.peer.name} reads other values: {wrong}"

    def close(self) -> None:
        """End the process: it ends when its input does."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def in_turns(rounds: int, racers: Sequence[Any]) -> list[tuple[int, Any]]:
    """Give (round, racer) so that each round begins with another racer."""
    return [
        (turn, racers[(turn + k) % len(racers)])
        for turn in range(rounds)
        for k in range(len(racers))
    ]
