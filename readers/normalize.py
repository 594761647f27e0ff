"""Batches as a model wants them: float32 around 0, or between 0 and 1. NumPy or torch.

A torch tensor brings its own package along; nothing is imported for it.
"""

import sys
from typing import Any

import numpy as np

from patchpress.readers.errors import BufferUnfit
from patchpress.readers.statistics import Statistics


def normalize(
    batch: Any,
    statistics: Statistics,
    out: Any = None,
    how: str = "standard",
    low: int = 1,
    high: int = 99,
) -> Any:
    """A batch as float32 around 0, or between 0 and 1; a band that does not vary becomes 0.

    Args:
        batch: NumPy array or torch tensor, (C, H, W) or (N, C, H, W), of any stored dtype, on any
            device.
        statistics: of its C bands, in their order: see `Statistics.pick` and `joined`.
        out: float32 of the batch's shape, on its device, to be filled and returned; a float32 batch
            may be its own `out`.
        how: ``standard`` is (x - mean) / std; ``range`` is (x - low) / (high - low), cut off at 0
            and 1.
        low: the percentile that becomes 0, one of `PERCENTILES`.
        high: the percentile that becomes 1.

    Raises:
        BufferUnfit: a batch of another number of bands, no batch at all, or an unfit `out`.
        OptionError: no such `how`, or no such percentiles.
    """
    # Whoever has a tensor has imported torch.
    torch = sys.modules.get("torch")
    tensor = torch is not None and isinstance(batch, torch.Tensor)
    if not tensor and not isinstance(batch, np.ndarray):
        kind = type(batch).__name__
        raise BufferUnfit(f"batch must be a NumPy array or a torch tensor, not {kind}")
    shape, bands = tuple(batch.shape), len(statistics.bands)
    if len(shape) not in (3, 4) or shape[-3] != bands:
        raise BufferUnfit(
            f"batch is {shape}, and the statistics are of {bands} bands: it must be ({bands}, H, W)"
            f" or (N, {bands}, H, W)"
        )
    if tensor:
        return _normalize_tensor(torch, batch, statistics, out, (how, low, high))
    shift, scale = statistics.constants(how, low, high, None, np.asarray)
    if out is None:
        out = np.empty(shape, np.float32)
    elif not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != np.float32:
        raise _unfit(out, shape)
    if out is not batch and np.may_share_memory(out, batch):
        batch = batch.copy()  # what is written must not be read again
    # Patch by patch, as one stays in the cache from step to step.
    pairs = zip(batch, out, strict=True) if len(shape) == 4 else [(batch, out)]
    for pixels, target in pairs:
        np.copyto(target, pixels, casting="unsafe")
        np.subtract(target, shift, out=target)
        np.divide(target, scale, out=target)
        if how == "range":
            np.clip(target, 0, 1, out=target)
    return out


def _normalize_tensor(
    torch: Any, batch: Any, statistics: Statistics, out: Any, way: tuple[str, int, int]
) -> Any:
    device = batch.device
    shift, scale = statistics.constants(*way, device, lambda a: torch.from_numpy(a).to(device))
    if out is None:
        out = torch.empty_like(batch, dtype=torch.float32)
    elif not isinstance(out, torch.Tensor) or out.shape != batch.shape:
        raise _unfit(out, tuple(batch.shape))
    elif out.dtype != torch.float32 or out.device != device:
        raise _unfit(out, tuple(batch.shape), f" on {device}")
    with torch.no_grad():
        if batch.dtype == torch.float32:
            torch.sub(batch, shift, out=out)
        else:
            # torch computes with few of the dtypes that it has; it copies all of them.
            out.copy_(batch).sub_(shift)
        out.div_(scale)
        if way[0] == "range":
            out.clamp_(0, 1)
    return out


def _unfit(out: Any, shape: tuple[int, ...], place: str = "") -> BufferUnfit:
    kind = f"{type(out).__module__.partition('.')[0]}.{type(out).__name__}"
    has = f"{getattr(out, 'dtype', '')} {tuple(getattr(out, 'shape', ()))}"
    return BufferUnfit(f"out is {kind} {has}; this batch needs float32 {shape}{place}, of its kind")
