"""HTTP/2, both ends: frames, headers, flow control, streams."""
