"""Measures what this repository claims: `make bench` and `make bench-peers`."""
