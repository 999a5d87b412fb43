"""Other calls over HTTP than inference: generation, and administration, which is closed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.http_head import request
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import WRONG_JSON, maybe, mutated_json, pick, raw_json


def generate(random: Random, recorded: Recorded) -> Case:
    """The endpoints of generation, which map plain JSON to tensors."""
    body: Any = {tensor.name: tensor.data for tensor in recorded.tensors}
    if maybe(random, 0.3):
        body = {name: value[0] for name, value in body.items() if value}
    body |= recorded.parameters(7)
    if maybe(random, 0.8):
        body = mutated_json(random, body)
    ending = pick(random, ("generate", "generate", "generate_stream"))
    path = recorded.path.replace("/infer", f"/{ending}")
    text = json.dumps(body).encode() if maybe(random, 0.9) else pick(random, WRONG_JSON)
    return Case("generate", Wire.HTTP, (request(text, path=path),))


_ADMINISTRATION = (
    "/v2/systemsharedmemory/region/x/register",
    "/v2/systemsharedmemory/region/x/unregister",
    "/v2/systemsharedmemory/unregister",
    "/v2/systemsharedmemory/status",
    "/v2/cudasharedmemory/region/x/register",
    "/v2/cudasharedmemory/status",
    "/v2/repository/index",
    "/v2/repository/models/mnist_cnn/load",
    "/v2/repository/models/mnist_cnn/unload",
    "/v2/repository/models/..%2f..%2fetc/load",
    "/v2/trace/setting",
    "/v2/models/mnist_cnn/trace/setting",
    "/v2/logging",
    "/v2/models/stats",
    "/v2/models/mnist_cnn/stats",
)


def administration(random: Random, recorded: Recorded) -> Case:  # noqa: ARG001
    """Shared memory, model control, trace and logging, which are closed."""
    body = pick(
        random,
        (
            {"key": "/triton_x", "offset": 0, "byte_size": 4096},
            {"key": "/../etc/passwd", "offset": 2**63, "byte_size": 2**63},
            {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 1},
            {"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}},
            {"log_file": "/tmp/x", "log_verbose_level": 9},  # noqa: S108 - nothing is written
            {"trace_level": ["TIMESTAMPS"], "trace_file": "/tmp/x"},  # noqa: S108
            {},
        ),
    )
    body = mutated_json(random, body) if maybe(random, 0.3) and body else body
    method = pick(random, (b"POST", b"POST", b"GET"))
    text = raw_json(body)
    path = pick(random, _ADMINISTRATION)
    return Case("administration", Wire.HTTP, (request(text, path=path, method=method),))
