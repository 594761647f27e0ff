"""What is compared before anything is timed: values, copies, and going on from a state."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchpress import PatchLoader, Statistics, normalize, open_store, to_device


def compare(store: Path, statistics: Statistics, device: torch.device, batch: int) -> list[str]:
    """Give one line for each check; a wrong value ends the run."""
    lines = []
    checks: tuple[Callable[[], str], ...] = (
        lambda: check_values(store, statistics, device, batch),
        lambda: check_copies(store, device, batch),
        lambda: check_resume(store, statistics, device, batch),
    )
    for check in checks:
        lines.append(check())
        print(f"right: {lines[-1]}", flush=True)
    return lines


def check_values(store: Path, statistics: Statistics, device: torch.device, batch: int) -> str:
    """Compare an epoch with the CPU's; its first batches are held while memory is filled again."""
    checked, worst = 0, 0.0
    for pinned in (None, False) if device.type == "cuda" else (None,):
        loader = PatchLoader(
            str(store), batch_size=batch, shuffle=True, seed=3, with_key=True, pin_memory=pinned
        )
        ours = to_device(loader, device, statistics)
        held = list(islice(ours, 4))  # on the device, while its memory on the host is filled again
        stored = open_store(store)
        samples = loader.samples
        position = {key: k for k, key in enumerate(samples.keys(range(len(samples))))}
        loader.set_epoch(0)
        for number, (image, label, keys) in enumerate(ours):
            found = (held[number] if number < len(held) else (image, label, keys))[0].cpu()
            pixels = torch.from_numpy(np.stack([stored.read(key) for key in keys]))
            wanted = normalize(pixels, statistics)
            worst = max(worst, float((found - wanted).abs().max()))
            assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)
            rows = samples.read([position[key] for key in keys])
            assert np.array_equal(label.cpu().numpy(), rows["label"])
            checked += len(keys)
    assert checked == len(samples) * (2 if device.type == "cuda" else 1)
    return f"{checked:,} patches equal those of Store.read, normalised (at most {worst:.1e} apart)"


def check_copies(store: Path, device: torch.device, batch: int) -> str:
    """Copy batches without waiting, as users may: none may be filled again before that ends."""
    loader = PatchLoader(str(store), batch_size=batch, shuffle=True, seed=5, target=None)
    busy = torch.randn(4096, 4096, device=device) if device.type == "cuda" else None
    copies = []
    for image in islice(loader, 12):
        if busy is not None:
            for _ in range(20):  # so that the copy has to wait
                busy = busy @ busy * 1e-3
        copies.append(image.to(device, non_blocking=True))
        del image
    loader.set_epoch(0)
    for image, copied in zip(loader, copies, strict=False):
        assert torch.equal(image, copied.cpu())
    return f"{len(copies)} batches copied without waiting are what they were"


def check_resume(store: Path, statistics: Statistics, device: torch.device, batch: int) -> str:
    """A state taken inside the loop continues with the batch after the one that the loop has."""

    def batches() -> Any:
        loader = PatchLoader(
            str(store), batch_size=batch, shuffle=True, seed=1, with_key=True, target=None
        )
        return to_device(loader, device, statistics)

    whole = [keys for _, keys in batches()]
    stops = sorted({1, 2, len(whole) // 2, len(whole) - 1})
    for stop in stops:
        first = batches()
        for number, (_, keys) in enumerate(first, 1):
            assert keys == whole[number - 1]
            if number == stop:
                state = first.state_dict()
                break
        again = batches()
        again.load_state_dict(state)
        assert [keys for _, keys in again] == whole[stop:], f"after {stop} of {len(whole)}"
    return f"states after {', '.join(map(str, stops))} of {len(whole)} batches go on exactly"
