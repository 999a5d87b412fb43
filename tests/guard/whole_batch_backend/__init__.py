"""The backend `onnxruntime` once more, as NVIDIA's C++ one deals with errors."""
