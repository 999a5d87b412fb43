"""Tests of `model_repository/`."""
