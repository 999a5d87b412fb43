"""The same tests for every Triton: small ONNX models, each named after what it shows."""
