"""A small typed client for the models of this repository, over HTTP and over gRPC.

>>> from clients import HttpClient
>>> with HttpClient("localhost:8000") as client:  # doctest: +SKIP
...     client.classify_texts(["a moving, wonderful film"])[0].label
'positive'
"""

import clients.grpc_log  # noqa: F401  # isort: skip - before anything imports gRPC
from clients.access import Access
from clients.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    ServerError,
    ServerLostError,
    ServingError,
    UnavailableError,
    WrongServerError,
)
from clients.explanations import DigitExplanation, TextExplanation, Word
from clients.grpc_client import GrpcClient
from clients.http_client import HttpClient
from clients.results import Classification, DigitResult, TextResult
from clients.retry import RetryPolicy

__all__ = [
    "Access",
    "AccessDeniedError",
    "Classification",
    "DeadlineExceededError",
    "DigitExplanation",
    "DigitResult",
    "GrpcClient",
    "HttpClient",
    "InvalidInputError",
    "ModelNotFoundError",
    "RetryPolicy",
    "ServerError",
    "ServerLostError",
    "ServingError",
    "TextExplanation",
    "TextResult",
    "UnavailableError",
    "Word",
    "WrongServerError",
]
