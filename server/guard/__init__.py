"""The guard: checks every request before Triton, which single requests can end, parses it."""
