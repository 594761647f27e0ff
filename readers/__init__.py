"""The light runtime: open a store, read its records, train on them.

Needs numpy, lmdb, safetensors, zstandard and pyarrow; torch only where a module says so. Rooms
from top to bottom: the modules beside this file, `access`, `format`. Never imports the converter.
"""
