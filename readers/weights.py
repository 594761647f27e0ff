"""How often classes occur among labels, and the weights that make up for it. NumPy only."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Hot = npt.NDArray[np.bool_]


def class_counts(hot: Hot) -> npt.NDArray[np.int64]:
    """How many samples have each class, (classes,) int64; `hot` is (samples, classes)."""
    return np.asarray(hot.sum(axis=0), np.int64)


def pos_weight(hot: Hot) -> npt.NDArray[np.float32]:
    """Samples without a class for each sample with it, (classes,) float32.

    What torch's `BCEWithLogitsLoss` calls `pos_weight`. A class that no sample has counts as if one
    had it, so that the weight is finite.
    """
    counts = class_counts(hot)
    return ((len(hot) - counts) / np.maximum(counts, 1)).astype(np.float32)


def class_weight(hot: Hot) -> npt.NDArray[np.float32]:
    """Weights of classes, (classes,) float32, that make all classes that occur count alike.

    The mean weight of the labels is 1; for the `weight` of torch's `CrossEntropyLoss`. A class that
    no sample has gets 0.
    """
    counts = class_counts(hot)
    weights = counts.sum() / (np.maximum(counts, 1) * max(np.count_nonzero(counts), 1))
    return np.where(counts > 0, weights, 0).astype(np.float32)


def sample_weights(hot: Hot) -> npt.NDArray[np.float64]:
    """A weight for each sample, (samples,) float64: one by the frequency of its rarest class.

    For torch's `WeightedRandomSampler`: samples of rare classes are drawn more often. One of no
    class at all counts as one of the most frequent class.
    """
    counts = np.maximum(class_counts(hot), 1)
    rarest = np.where(hot, counts, counts.max(initial=1)).min(axis=1, initial=counts.max(initial=1))
    return np.asarray(1 / rarest, np.float64)
