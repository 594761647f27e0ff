"""`Normalize`: `normalize` as a torch module, for pipelines of transforms and for models.

Needs torch (the extra ``torch``).
"""

from collections.abc import Mapping
from typing import Any

import torch

from patchpress.readers.errors import BufferUnfit
from patchpress.readers.images import IMAGE
from patchpress.readers.normalize import check_shape
from patchpress.readers.statistics import Statistics, one_statistics


class Normalize(torch.nn.Module):
    """Normalises images by statistics, as `patchpress.normalize` does; pickles, and moves.

    Takes a tensor (C, H, W) or (N, C, H, W) of any dtype and gives float32; or a sample or batch as
    loaders give it, of which only the images change: a tuple, or a dict with `image`. The constants
    are buffers: they go where the module goes, and stand in its `state_dict`. ::

        data = PatchDataset("ben.store", "train", transform=Normalize(statistics))
        model = torch.nn.Sequential(Normalize(statistics), network).to("cuda")
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        statistics: Statistics | Mapping[str, Statistics],
        *,
        how: str = "standard",
        low: int = 1,
        high: int = 99,
    ) -> None:
        """Take the constants out of statistics.

        Args:
            statistics: of the images' bands, in their order (`Statistics.pick` puts them in
                another); of several modalities one after another, a dict of them in that order.
            how: ``standard`` is (x - mean) / std; ``range`` is (x - low) / (high - low), values
                below 0 and above 1 set to these.
            low: the percentile that becomes 0.
            high: the percentile that becomes 1.

        Raises:
            OptionError: something that is no statistics, no such `how`, or no such percentiles.
        """
        super().__init__()
        statistics = one_statistics(statistics)
        # Under None the statistics keep NumPy's arrays.
        device = torch.device("cpu")
        shift, scale = statistics.constants(how, low, high, device=device, move=torch.from_numpy)
        # Copies, because the statistics keep these constants for others.
        self.register_buffer("shift", shift.clone())
        self.register_buffer("scale", scale.clone())
        self.how = how
        self._told = f"{statistics.modality}, {statistics.split}, {len(statistics.bands)} bands"

    def forward(self, images: Any) -> Any:
        """Images as float32, or a sample or batch with such images.

        Raises:
            BufferUnfit: a tensor of another number of bands, or something else.
        """
        if isinstance(images, torch.Tensor):
            return self._normalized(images)
        if isinstance(images, Mapping) and IMAGE in images:
            return {**images, IMAGE: self._normalized(images[IMAGE])}
        if isinstance(images, (tuple, list)) and images and isinstance(images[0], torch.Tensor):
            return (self._normalized(images[0]), *images[1:])
        raise BufferUnfit(
            "Normalize takes a tensor, a dict with 'image', or a tuple that begins with a tensor, "
            f"not {type(images).__name__}"
        )

    def _normalized(self, images: torch.Tensor) -> torch.Tensor:
        check_shape(tuple(images.shape), len(self.shift))
        found = images.to(torch.float32).sub(self.shift).div_(self.scale)
        return found.clamp_(0, 1) if self.how == "range" else found

    def extra_repr(self) -> str:
        """What `print` shows in the brackets."""
        return f"{self._told}, how={self.how!r}"
