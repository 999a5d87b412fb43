"""Serves `backend: "onnxruntime"` models with ONNX Runtime's Python package.

It stands in for Triton's C++ backend of the same name, which the packaged Triton lacks:
the same configs, parameters and answers. Every instance is a process of its own, and
Triton puts this folder on its path.
"""

from ort_backend.instance import ModelInstance as TritonPythonModel  # type: ignore[import-not-found]

__all__ = ["TritonPythonModel"]
