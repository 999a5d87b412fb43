"""Measures what is served."""
