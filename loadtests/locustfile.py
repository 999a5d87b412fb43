"""Load on the served models, for Locust: a user class for each model and protocol.

    locust -f loadtests/locustfile.py --host localhost:8000 SentimentHttp MnistCnnGrpc
    locust -f loadtests/locustfile.py --host localhost:8000 --class-picker
    locust -f loadtests/locustfile.py --host localhost:8000 --headless -u 16 -r 16 -t 30s --csv out

With a master and workers, on any machines that have this repository:

    locust -f loadtests/locustfile.py --host server:8000 --master SentimentGrpc
    locust -f loadtests/locustfile.py --worker --master-host master

Each user waits for its answer before it asks again. Every answer is compared with the expected
one; a wrong one is a failure. Model and protocol are tags, too. gRPC is on the port after
HTTP's. `make loadtest` runs this file as well; docs/load-tests.md describes both.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # wherever Locust was started

from loadtests.load.coordinator import models
from loadtests.load.settings import user_class_name
from loadtests.load.users import RunShape, user_class

__all__ = ["RunShape"]  # what `make loadtest` wants; Locust finds shapes by their being here

# SentimentHttp, SentimentHttpJson, SentimentGrpc, SentimentGrpcStream, SentimentGrpcShm,
# MnistCnnHttp, ...
for model, protocol in models():
    globals()[user_class_name(model, protocol)] = user_class(model, protocol)
