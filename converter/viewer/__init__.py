"""The local page to walk through a store: rows in memory, filters, pictures, and the server.

May import pictures, the converter's shared modules and `patchpress.readers`; commands import it.
"""
