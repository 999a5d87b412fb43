"""Errors of the backend, and ONNX Runtime's errors in one readable line."""

import re

_STATUS_MESSAGE = re.compile(r"Status Message: (?P<message>.*)", re.DOTALL)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_NODE = re.compile(r"while running (?P<kind>\S+) node\. Name:'(?P<name>[^']*)'")
_OF_THE_MACHINE = re.compile(
    r"failed to allocate|bad_alloc|bad allocation|out of memory|CU[A-Z]+ failure \d", re.IGNORECASE
)
_SOURCE = re.compile(r"^(?:/\S+\.(?:cc|h|cpp):\d+ )(?:.*?\) )?(?:const )?")

_CUDA_FAILURE = re.compile(r"CUDA failure (?P<code>\d+)")
_BREAK_THE_CONTEXT = frozenset((214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999))
"""Errors after which a process can do nothing more on its GPU, by their cudaError_t.

Among them are uncorrectable memory, illegal addresses, and kernels that failed or took too long.
"""

MAX_CHARACTERS = 400
"""Of what ONNX Runtime says; some of it lists whole shapes and types."""


class ConfigError(ValueError):
    """The model's config asks for what cannot be served; the message says what."""


class BadRequestError(ValueError):
    """A request's tensors cannot be computed; the message says why."""


def explain(error: Exception) -> str:
    """Says in one line what is wrong, the reason first, without codes and source files.

    A node of the graph that exists to refuse is a Reshape whose name is the reason, in words;
    then that is all there is to say. Of any other node the name follows what ONNX Runtime says.
    """
    text = str(error)
    node = _NODE.search(text)
    if node and node["kind"] == "Reshape" and " " in node["name"]:
        return node["name"]
    message = _STATUS_MESSAGE.search(text)
    said = message["message"] if message else _PREFIX.sub("", text)
    said = _SOURCE.sub("", " ".join(said.split()))
    if len(said) > MAX_CHARACTERS:
        said = f"{said[:MAX_CHARACTERS]}…"
    return f"{said} (node {node['name']!r}, {node['kind']})" if node else said


def is_callers_fault(error: Exception) -> bool:
    """Tells whether a request's values cause an error: those that ONNX Runtime refuses do."""
    if isinstance(error, BadRequestError):
        return True
    machines_fault = _OF_THE_MACHINE.search(str(error))
    return type(error).__module__.startswith("onnxruntime") and not machines_fault


def breaks_the_gpu(error: Exception) -> bool:
    """Tells whether a process can compute nothing more on its GPU after an error."""
    failure = _CUDA_FAILURE.search(str(error))
    return failure is not None and int(failure["code"]) in _BREAK_THE_CONTEXT
