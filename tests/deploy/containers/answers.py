"""Questions to a server in a container, each on a connection of its own."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field

import numpy as np

from build.data import digits
from tests.deploy.load import Call


@dataclass
class Digits:
    """Real digits for `mnist_cnn`, and what a server that is well answered.

    Attributes:
        url: `host:port` of the HTTP service that is asked.
        refused: Connections that nobody took.
    """

    url: str
    refused: int = 0
    expected: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        images, labels = digits.load_test()
        self.inputs = digits.as_input(images[:20])
        self.expected = [self._ask(index) for index in range(len(self.inputs))]
        right = np.argmax(self.expected, axis=1) == labels[:20]
        assert np.mean(right) > 0.9

    def calls(self) -> list[Call]:
        """One for each digit; a connection that is refused had no request on it."""
        return [lambda index=index: self._check(index) for index in range(len(self.inputs))]  # type: ignore[misc]

    def _check(self, index: int) -> str | None:
        try:
            given = self._ask(index)
        except ConnectionRefusedError:
            self.refused += 1
            return None
        same = np.allclose(given, self.expected[index], atol=1e-4)
        return None if same else f"expected {self.expected[index]}, got {given}"

    def _ask(self, index: int) -> list[float]:
        data = self.inputs[index].ravel().tolist()
        shape = [1, 1, 28, 28]
        image = {"name": "image", "shape": shape, "datatype": "FP32", "data": data}
        connection = http.client.HTTPConnection(self.url, timeout=60)
        try:
            headers = {"Connection": "close"}
            body = json.dumps({"inputs": [image]})
            connection.request("POST", "/v2/models/mnist_cnn/infer", body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        assert response.status == 200, answer
        probabilities: list[float] = json.loads(answer)["outputs"][0]["data"]
        return probabilities
