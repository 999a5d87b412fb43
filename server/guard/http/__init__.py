"""HTTP/1.1: reads requests, passes them to Triton, and writes the answers."""
