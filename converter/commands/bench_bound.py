"""What bounds training on a machine, in one sentence: memory, the disk, or the training step."""

USUAL = 256  # patches of a batch, for which the time of a step is told


def bound_sentence(warm: float, cold: float | None, batch: int = USUAL) -> str:
    """Say how long a training step must take so that it never waits for the loader.

    Args:
        warm: patches/s that the loader gives while the page cache has the records.
        cold: the same from the disk; None if that was not measured.
        batch: patches of a step.
    """
    step = _step(warm, batch)
    if cold is None:
        return (
            f"your loader gives {warm:,.0f} patches/s: a step that takes longer than {step} a "
            f"batch of {batch} never waits, and a shorter one is bound by the loader"
        )
    if cold >= 0.9 * warm:
        return (
            f"your loader gives {warm:,.0f} patches/s, from the disk as from memory: a step that "
            f"takes longer than {_step(min(warm, cold), batch)} a batch of {batch} never waits, "
            "and a shorter one is bound by the processor and memory"
        )
    return (
        f"your loader gives {warm:,.0f} patches/s from memory and {cold:,.0f} from the disk: a "
        f"step that takes longer than {step} a batch of {batch} never waits while the store fits "
        f"into memory, and one longer than {_step(cold, batch)} never; a shorter one is bound by "
        "memory, or by the disk"
    )


def _step(rate: float, batch: int) -> str:
    """How long so many patches take at a rate, in milliseconds with two digits that matter."""
    milliseconds = 1000 * batch / rate
    return f"{milliseconds:,.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
