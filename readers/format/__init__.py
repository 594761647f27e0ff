"""The definition of the store's format: records, manifest, table, the pages of LMDB.

May import `errors`, `hints` and `showing`. FORMAT.md, beside this folder, is the same for other
programs.
"""
