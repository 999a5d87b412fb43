"""Tests of the clients; those marked e2e talk to a running Triton."""
