"""Fuzzing: bytes that nobody would write, to everything that parses bytes.

`python -m tests.fuzz` (`make fuzz`) drives each target with atheris; `test_targets` gives each what
was kept of that, and mutations of it, without atheris.
"""
