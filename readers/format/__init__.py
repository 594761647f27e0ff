"""The store's format, and its one owner: records, manifest, table, the pages of LMDB.

May import `errors` only. FORMAT.md beside `readers` describes it for other programs.
"""
