"""One thread for NumPy's linear algebra in the command: what uses it here runs in processes.

OpenBLAS starts its threads when NumPy is imported. They wait for work by spinning, on every core,
while there is other work to do. To be imported before NumPy.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
