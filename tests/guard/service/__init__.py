"""The guard's two services, both in front of one Triton with small models."""
