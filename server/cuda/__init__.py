"""The driver and the libraries that ONNX Runtime computes with on an NVIDIA GPU."""
