"""Private: how stored bytes are found in the data files, and read from them.

May import `format`, `errors`, `hints` and `showing`.
"""
