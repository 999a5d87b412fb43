"""The tests; they mirror the top level."""
