"""What a request for inference may be."""
