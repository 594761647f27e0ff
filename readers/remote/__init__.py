"""Stores at a URL: small files in a cache folder, records by range requests, through obstore."""
