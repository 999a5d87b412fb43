"""Tests of `build/checkpoint/`."""
