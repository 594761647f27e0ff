"""Staging: data files are copied once to a disk of this machine, and read from there.

May import `access`, `format`, `errors`, `hints` and `showing`.
"""
