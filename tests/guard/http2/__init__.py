"""The guard's end of HTTP/2."""
