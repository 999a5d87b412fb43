"""LitServe with batches."""
