"""What the tests of HTTP send."""

from __future__ import annotations

import json
from typing import Any

ECHO = "/v2/models/echo/infer"


def echo(word: str, **more: Any) -> bytes:
    """A request to `echo`, whose tensor has more fields where they are given."""
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [word], **more}
    return json.dumps({"inputs": [tensor]}).encode()
