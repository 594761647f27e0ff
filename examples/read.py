"""Read batches of a store at random, as a training loop does, and say how fast.

python examples/read.py STORE [--stage DIR]
"""

import argparse
import sys
import time

import numpy as np

from patchpress import PatchpressError, open_store

BATCH = 64
ROUNDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--stage", help="folder on a local disk that the store is copied to")
    args = parser.parse_args()
    store = open_store(args.store, stage=args.stage)
    print(store)
    modality = next(iter(store.manifest.modalities.values()))
    split = next(iter(store.manifest.splits), None)  # train, if there are splits
    keys = np.array(store.keys(modality.name, split))
    batch = np.empty((BATCH, *modality.shape), modality.dtype)
    random = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        store.read_batch(random.choice(keys, BATCH).tolist(), out=batch)
    seconds = time.perf_counter() - begun
    print(
        f"{ROUNDS} batches {batch.shape} {batch.dtype}: {BATCH * ROUNDS / seconds:,.0f} patches/s"
    )
    # With the modality, the table's rows are those of the keys, one by one.
    labels = store.table(split, list(store.manifest.classes), modality.name)
    print(dict(zip(keys[:3].tolist(), labels.slice(0, 3).to_pylist(), strict=False)))


if __name__ == "__main__":
    try:
        main()
    except PatchpressError as error:
        sys.exit(f"read.py: {error}")
