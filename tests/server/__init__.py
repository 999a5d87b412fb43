"""Tests of the server and its backend."""
