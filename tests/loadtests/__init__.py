"""Tests of the load tests: the arithmetic on recorded data, and short runs on the real server."""
