"""Zeros for missing modalities in batches that were normalised on a device.

Normalising makes other numbers of zeros; whoever reads normalised samples on a CPU has seen to it.
Works on torch's tensors, and imports nothing of torch.
"""

from collections.abc import Collection
from typing import Any

from patchpress.readers.samples import Samples


def zero_missing(
    samples: Samples, field: str, images: Any, present: Any, lacking: Collection[str]
) -> Any:
    """Set the channels of modalities that a sample lacks to 0, in place; gives the images.

    Args:
        samples: of the same choice as the batch's.
        field: name of the images' field.
        images: tensor (N, channels, height, width), or (N, steps, channels, height, width).
        present: tensor (N, modalities) of bool, on the same device.
        lacking: the modalities that some sample may lack.
    """
    for modality, channels in samples.image_channels[field].items():
        if modality in lacking:
            absent = ~present[:, samples.modalities.index(modality)]
            of_each = absent[(slice(None), *[None] * (images.ndim - 1))]
            images[..., channels, :, :].masked_fill_(of_each, 0)
    return images
