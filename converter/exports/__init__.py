"""Rows of a finished store as files that other programs read, one module a format.

Written beside their place under another name, and renamed when whole. May import pictures and what
is below it; commands import it.
"""
