"""The store's format, and its one owner: records, manifest, table, the pages of LMDB.

May import `errors` and `hints`. FORMAT.md beside `readers` describes it for other programs.
"""
