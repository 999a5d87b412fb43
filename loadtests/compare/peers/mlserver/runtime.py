"""MLServer: a model of our own, in batches of up to 32 that MLServer gathers."""

import asyncio

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from loadtests.compare.peers.classifier import Classifier


class SentimentModel(MLModel):
    """`TEXT` in, `LABEL` and `PROBABILITIES` out, as Triton's ensemble has them."""

    async def load(self) -> bool:
        """Loads the model."""
        self._classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classifies a batch."""
        texts = StringCodec.decode_input(payload.inputs[0])
        # In a thread, so that the event loop gathers the next batch meanwhile.
        found = await asyncio.to_thread(self._classifier.classify, texts)
        labels, probabilities = zip(*found, strict=True)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("LABEL", list(labels)),
                NumpyCodec.encode_output("PROBABILITIES", np.array(probabilities, np.float32)),
            ],
        )
