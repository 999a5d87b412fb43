"""Mutated requests at a guarded server; `make fuzz`."""
