"""Tests of the fuzzer that start no server."""
