"""The light runtime: open a store, read its records, train on them. Never imports the converter.

Needs numpy, safetensors, zstandard and pyarrow; torch only if a module says so. From top to
bottom: the modules beside this file, the rooms `access` and `format`, and at the bottom `errors`,
`hints` and `showing`, which all of them share.
"""
