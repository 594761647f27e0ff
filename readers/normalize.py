"""`normalize`: batches as a model wants them, float32 around 0 or between 0 and 1.

For NumPy arrays and torch tensors. torch is never imported here: whoever has a tensor did so.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from patchpress.readers.errors import BufferUnfit
from patchpress.readers.statistics import Statistics, one_statistics


def normalize(
    batch: Any,
    statistics: Statistics | Mapping[str, Statistics],
    *,
    out: Any = None,
    how: str = "standard",
    low: int = 1,
    high: int = 99,
) -> Any:
    """Give a batch as float32 around 0, or between 0 and 1; a band that does not vary becomes 0.

    Args:
        batch: NumPy array or torch tensor, (C, H, W), (N, C, H, W) or (N, T, C, H, W), of any
            stored dtype, on any device.
        statistics: of its C bands, in their order (`Statistics.pick` puts them in another); if they
            are of several modalities one after another, a dict of them in that order.
        out: float32 of the batch's shape, on its device; it is filled and returned. A float32 batch
            may be its own `out`.
        how: ``standard`` is (x - mean) / std; ``range`` is (x - low) / (high - low), values below 0
            and above 1 set to these.
        low: the percentile that becomes 0, one of `PERCENTILES`.
        high: the percentile that becomes 1.

    Raises:
        BufferUnfit: a batch of another number of bands, something that is no batch, or an `out` of
            another kind, shape, dtype or device.
        OptionError: no such `how`, no such percentiles, or something that is no statistics.
    """
    torch = sys.modules.get("torch")
    tensor = torch is not None and isinstance(batch, torch.Tensor)
    if not tensor and not isinstance(batch, np.ndarray):
        kind = type(batch).__name__
        raise BufferUnfit(f"batch must be a NumPy array or a torch tensor, not {kind}")
    statistics = one_statistics(statistics)
    shape = tuple(batch.shape)
    check_shape(shape, len(statistics.bands))
    if tensor:
        return _normalize_tensor(torch, batch, statistics, out, (how, low, high))
    shift, scale = statistics.constants(how, low, high, device=None, move=np.asarray)
    if out is None:
        out = np.empty(shape, np.float32)
    elif not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != np.float32:
        raise _unfit(out, shape)
    if out is not batch and np.may_share_memory(out, batch):
        batch = batch.copy()  # else pixels would be read that were written a moment before
    # Patch by patch: one patch stays in the processor's cache from step to step.
    pairs = zip(batch, out, strict=True) if len(shape) > 3 else [(batch, out)]
    for pixels, target in pairs:
        np.copyto(target, pixels, casting="unsafe")
        np.subtract(target, shift, out=target)
        np.divide(target, scale, out=target)
        if how == "range":
            np.clip(target, 0, 1, out=target)
    return out


def check_shape(shape: tuple[int, ...], bands: int) -> None:
    """Refuse a batch that does not have so many bands.

    Raises:
        BufferUnfit: it has another number, or is neither (C, H, W) nor (N, C, H, W) nor
            (N, T, C, H, W).
    """
    if len(shape) not in (3, 4, 5) or shape[-3] != bands:
        raise BufferUnfit(
            f"batch is {shape}, and the statistics are of {bands} bands: it must be ({bands}, H, W)"
            f" or (N, {bands}, H, W)"
        )


def _normalize_tensor(
    torch: Any, batch: Any, statistics: Statistics, out: Any, way: tuple[str, int, int]
) -> Any:
    device = batch.device
    shift, scale = statistics.constants(
        *way, device=device, move=lambda array: torch.from_numpy(array).to(device)
    )
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
            # torch cannot subtract every dtype that it has (uint16, for one), but it can copy each.
            out.copy_(batch).sub_(shift)
        out.div_(scale)
        if way[0] == "range":
            out.clamp_(0, 1)
    return out


def _unfit(out: Any, shape: tuple[int, ...], device: str = "") -> BufferUnfit:
    kind = f"{type(out).__module__.partition('.')[0]}.{type(out).__name__}"
    has = f"{getattr(out, 'dtype', '')} {tuple(getattr(out, 'shape', ()))}"
    return BufferUnfit(
        f"out is {kind} {has}; this batch needs float32 {shape}{device}, of its kind"
    )
