"""One target under atheris, in a process of its own: ``python -m tests.fuzz.drive NAME CORPUS …``.

The other words are options of libFuzzer. Without instrumentation it would not see which input
reaches something new, so the package is imported under its eyes.
"""

import random
import sys
from pathlib import Path

import atheris


def main() -> None:
    """Fuzz until libFuzzer's limits, or a fault."""
    name, folder, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["patchpress"]):
        from tests.fuzz.corpus import unpack
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    if "-merge=1" not in options:
        unpack(name, target.seeds(), Path(folder))
    check = target.check()

    def once(data: bytes) -> None:
        check(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)  # noqa: S311 -- libFuzzer gives the seed
        if draw.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return target.mutation(data, draw)[:most]

    words = [sys.argv[0], folder, f"-max_len={target.longest}", *options]
    atheris.Setup(words, once, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
