"""Tests that talk to a running server with the really built models."""
