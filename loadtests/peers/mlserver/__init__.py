"""MLServer with adaptive batches."""
