"""FastAPI with ONNX Runtime: each request by itself, in a thread of FastAPI's pool.

ONNX Runtime lets go of Python's lock while it computes, so a function that is no coroutine is
enough to have requests share the processors.
"""

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from loadtests.compare.peers.classifier import Classifier


class Review(BaseModel):
    """What is asked."""

    text: str


class Sentiment(BaseModel):
    """What is answered."""

    label: str
    probabilities: list[float]


app = FastAPI()
classifier = Classifier()


@app.post("/classify")
def classify(review: Review) -> Sentiment:
    """Classifies one text."""
    label, probabilities = classifier.classify([review.text])[0]
    return Sentiment(label=label, probabilities=probabilities)


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False
    )
