"""Finds, starts, watches and stops Triton Inference Server."""
