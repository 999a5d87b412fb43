"""Finds the config that meets an objective, by measuring: `make tune`."""
