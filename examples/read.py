"""Read batches of a store at random, as a training loop does, and say how fast.

python examples/read.py STORE
"""

import sys
import time

import numpy as np

from readers import open_store

BATCH = 64
ROUNDS = 20


def main() -> None:
    store = open_store(sys.argv[1])
    print(store)
    modality = next(iter(store.manifest.modalities.values()))
    keys = np.array(store.keys(modality.name, split="train"))
    batch = np.empty((BATCH, *modality.shape), modality.dtype)
    random = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        store.read_batch(random.choice(keys, BATCH).tolist(), out=batch)
    seconds = time.perf_counter() - begun
    print(
        f"{ROUNDS} batches {batch.shape} {batch.dtype}: {BATCH * ROUNDS / seconds:,.0f} patches/s"
    )
    labels = store.table(split="train", columns=["patch_id", "labels"])
    print(labels.slice(0, 3).to_pylist())


if __name__ == "__main__":
    main()
