"""What is in a store or in one of its records: counted as facts, and shown as tables.

May import the converter's shared modules and `patchpress.readers`; commands import it.
"""
