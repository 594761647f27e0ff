"""Records of finished stores to another store, as they are stored: parts, joined stores, shards.

May import storage and what is below it; commands import it.
"""
