"""LitServe: workers that classify batches of up to 8, padded to their longest text."""

import os
from typing import Any

import litserve

from loadtests.compare.peers.classifier import Classified, Classifier


class SentimentAPI(litserve.LitAPI):
    """Text in, label out."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Loads the model, once in a worker."""
        self._classifier = Classifier()

    def decode_request(self, request: dict[str, Any]) -> str:
        """Takes the text out of a request."""
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        """A list of texts is a batch already."""
        return inputs

    def predict(self, x: list[str]) -> list[Classified]:
        """Classifies a batch."""
        return self._classifier.classify(x)

    def unbatch(self, output: list[Classified]) -> list[Classified]:
        """A list of answers, one for each request."""
        return output

    def encode_response(self, output: Classified) -> dict[str, Any]:
        """Makes JSON of an answer."""
        return output._asdict()


if __name__ == "__main__":
    api = SentimentAPI(max_batch_size=8, batch_timeout=0.002, api_path="/classify")
    litserve.LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=int(os.environ["WORKERS"]),
        fast_queue=True,
    ).run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
