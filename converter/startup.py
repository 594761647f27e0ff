"""What the command sets before it imports anything else: threads, memory, and garbage collection.

OpenBLAS starts its threads when NumPy is imported. They wait for work by spinning, on every core,
while there is other work to do. The command needs no such threads: it works in parallel processes.
"""

import gc
import os

from patchpress.converter.addressspace import spare_address_space
from patchpress.converter.allocation import note_command
from patchpress.converter.collections import RARELY

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# pyarrow's own pool keeps what is freed, of a large table as much again as it has, and reserves a
# gigabyte of address space.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
note_command()
# What is imported is never garbage, but it would be searched for some again and again.
gc.set_threshold(*RARELY)
spare_address_space()
