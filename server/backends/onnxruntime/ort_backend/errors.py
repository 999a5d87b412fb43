"""Errors of the backend, and ONNX Runtime's errors in one readable line."""

import re

_STATUS_MESSAGE = re.compile(r"Status Message: (?P<message>.*)", re.DOTALL)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_NODE = re.compile(r"while running (?P<kind>\S+) node\. Name:'(?P<name>[^']*)'")
_SOURCE = re.compile(r"^(?:/\S+\.(?:cc|h|cpp):\d+ )(?:.*?\) )?(?:const )?")


class ConfigError(ValueError):
    """The model's config asks for what cannot be served; the message says what."""


class BadRequestError(ValueError):
    """A request's tensors cannot be computed; the message says why."""


def explain(error: Exception) -> str:
    """Says in one line what ONNX Runtime complains about, without codes and source files."""
    text = str(error)
    node = _NODE.search(text)
    message = _STATUS_MESSAGE.search(text)
    said = message["message"] if message else _PREFIX.sub("", text)
    said = _SOURCE.sub("", " ".join(said.split()))
    return f"{said} (node {node['name']!r}, {node['kind']})" if node else said


def is_from_onnxruntime(error: Exception) -> bool:
    """Tells whether an error is ONNX Runtime's own, which a request's values cause."""
    return type(error).__module__.startswith("onnxruntime")
