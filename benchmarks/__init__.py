"""Patchpress against the usual ways, on equal data: `python -m benchmarks --help`."""
