"""How often Python looks for garbage in cycles while a command works.

Commands keep many small objects and make next to no cycles. Python would look through all of them
again and again: a tenth of the main thread's time of a conversion from archives.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (100_000, 50, 50)
"""Thresholds as `gc.set_threshold` takes them."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Collect garbage rarely in this block, and again as before after it.

    Not if it is off, or rarer already.
    """
    before = gc.get_threshold()
    if not 0 < before[0] < RARELY[0]:
        yield
        return
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
