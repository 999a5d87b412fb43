"""The steps of the check; each is a function that takes a `Check` and has a process of its own."""
