"""Private: how stored bytes are found and read, through LMDB or straight from the data files.

May import `format`, `errors`, `hints` and `showing`.
"""
