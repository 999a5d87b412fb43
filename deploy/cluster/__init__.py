"""Several Triton servers behind one address: started, watched, published to."""
