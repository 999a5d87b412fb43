"""A bad request costs no neighbour of its batch an answer, whatever backend the server has.

Seven good requests wait in the server's queue for an eighth, which a bad one would be. Behind a
backend that fails whole batches, as NVIDIA's does, it fails all of them; with the guard in front
it is refused while they wait on, as it is in front of the embedded server.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tritonclient.utils import InferenceServerException

from build import model_config
from build.data import digits
from server.staging import OUR_BACKENDS
from server.triton import TritonServer
from tests.conformance.own_server import settings_for
from tests.conformance.target import CLIENTS, Arrays, Target
from tests.conftest import REPOSITORY
from tests.e2e.test_bad_input import VALUES, Case
from tests.e2e.test_batching import tokens
from tests.e2e.together import Inputs
from tests.guard.running_guard import RunningGuard, running_guard
from tests.server.held_model import pending
from tests.server.triton_folder import write_triton_folder

pytestmark = pytest.mark.e2e

BATCH = 8
WAITS_MICROSECONDS = 240_000_000  # far longer than a test may take: a batch starts when it is full
BACKEND = Path(__file__).parent / "whole_batch_backend" / "model.py"


# Of another length each, where the lengths may differ.
GOOD: Mapping[str, list[Inputs]] = {
    "mnist_cnn": [
        {"image": image[np.newaxis]} for image in digits.as_input(digits.load_test().images[:BATCH])
    ],
    "sentiment_bert": [tokens(101, *range(2000, 2001 + n), 102) for n in range(BATCH)],
}
# The batches of sequences cannot be held until they are full: tests/guard/test_bounds.py has
# what is refused of the recurrent network.
cases = pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.model}, {case.name}") for case in VALUES]
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks, which compute a batch once it is full."""
    folder = tmp_path_factory.mktemp("models")
    for model in GOOD:
        config = model_config.of_model(REPOSITORY, model)
        batching = config.dynamic_batching
        batching.preferred_batch_size[:] = [BATCH]
        batching.max_queue_delay_microseconds = WAITS_MICROSECONDS
        model_config.write(folder / model / model_config.PLAIN, config)
        for source in (REPOSITORY / model).iterdir():
            if source.name not in (model_config.PLAIN, "configs"):
                (folder / model / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="module")
def whole_batches(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    """A Triton of somebody else's, whose backend fails whole batches."""
    triton = tmp_path_factory.mktemp("opt") / "tritonserver"
    own = write_triton_folder(triton)
    shutil.copy(BACKEND, own)
    shutil.copytree(OUR_BACKENDS / "onnxruntime" / "ort_backend", own / "ort_backend")
    with TritonServer(settings_for(repository, triton_dir=triton)) as started:
        assert started.filled_in == ()
        yield started


@pytest.fixture(scope="module")
def embedded(repository: Path) -> Iterator[TritonServer]:
    """The embedded server."""
    with TritonServer(settings_for(repository)) as started:
        yield started


@pytest.fixture(scope="module")
def guards(
    whole_batches: TritonServer, embedded: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[RunningGuard, TritonServer]]]:
    """A guard in front of each."""
    folders = [tmp_path_factory.mktemp("guard") for _ in range(2)]
    with (
        running_guard(folders[0], whole_batches) as first,
        running_guard(folders[1], embedded) as second,
    ):
        yield {"whole_batches": (first, whole_batches), "embedded": (second, embedded)}


@pytest.fixture(params=sorted(CLIENTS))
def protocol(request: pytest.FixtureRequest) -> str:
    """HTTP and gRPC."""
    return str(request.param)


class Waiting:
    """A model's good requests but for the last, in the server's queue.

    Args:
        target: Whom they are sent to.
        server: Whose queue it is.
        model: The model.
    """

    def __init__(self, target: Target, server: TritonServer, model: str) -> None:
        self._target, self._server, self._model = target, server, model
        self._pool = ThreadPoolExecutor(BATCH)
        self._answers = [self.send(inputs) for inputs in GOOD[model][:-1]]
        while self.pending < BATCH - 1:
            time.sleep(0.01)

    @property
    def pending(self) -> int:
        """How many wait, as the server counts."""
        return pending(self._server.metrics_url, self._model)

    def send(self, inputs: Inputs) -> Future[Arrays | InferenceServerException]:
        """Sends a request beside those that wait."""
        return self._pool.submit(self._ask, inputs)

    def answers(self) -> list[Arrays | InferenceServerException]:
        """Waits for theirs."""
        found = [each.result() for each in self._answers]
        self._pool.shutdown()
        return found

    def _ask(self, inputs: Inputs) -> Arrays | InferenceServerException:
        try:
            return self._target.infer(self._model, inputs)
        except InferenceServerException as error:
            return error


@cache
def right_answers(model: str) -> list[Arrays]:
    """What the network answers to each good request alone, without a server."""
    config = model_config.of_model(REPOSITORY, model)
    file = REPOSITORY / model / "1" / model_config.served_file(config)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ragged = {each.name for each in config.input if each.allow_ragged_batch}
    names = [each.name for each in config.output]
    answers = []
    for inputs in GOOD[model]:
        feed = {
            name: array.reshape(-1) if name in ragged else array for name, array in inputs.items()
        }
        for made in config.batch_input:
            shape = inputs[made.source_input[0]].shape[1:]
            feed[made.target_name[0]] = np.array([shape], np.int32)
        answers.append(dict(zip(names, session.run(names, feed), strict=True)))
    return answers


def batches_of(server: TritonServer, model: str, rows: int) -> int:
    """How many batches of so many rows a model has computed."""
    with CLIENTS["grpc"].InferenceServerClient(server.grpc_url) as client:
        (stats,) = client.get_inference_statistics(model).model_stats
    return sum(each.compute_infer.count for each in stats.batch_stats if each.batch_size == rows)


@cases
def test_without_the_guard_a_bad_request_takes_its_neighbours_along(
    whole_batches: TritonServer, protocol: str, case: Case
) -> None:
    url = whole_batches.http_url if protocol == "http" else whole_batches.grpc_url
    target = Target(protocol, url)
    waiting = Waiting(target, whole_batches, case.model)
    answers = [waiting.send(case.inputs).result(), *waiting.answers()]
    target.close()
    assert len(answers) == BATCH
    for answer in answers:
        assert isinstance(answer, InferenceServerException)
        assert answer.status() in ("500", "StatusCode.INTERNAL")
        assert "onnx runtime error" in answer.message()


@cases
@pytest.mark.parametrize("backend", ["whole_batches", "embedded"])
def test_behind_the_guard_it_is_refused_alone_and_the_others_get_their_answers(
    guards: dict[str, tuple[RunningGuard, TritonServer]], backend: str, protocol: str, case: Case
) -> None:
    guard, server = guards[backend]
    target = Target(protocol, guard.http_url if protocol == "http" else guard.grpc_url)
    before = batches_of(server, case.model, BATCH)
    waiting = Waiting(target, server, case.model)
    refused = waiting.send(case.inputs).result()
    assert isinstance(refused, InferenceServerException)
    assert refused.status() in ("400", "StatusCode.INVALID_ARGUMENT")
    assert case.message in refused.message()
    assert waiting.pending == BATCH - 1
    last = waiting.send(GOOD[case.model][-1]).result()
    answers = [*waiting.answers(), last]
    for answer, right in zip(answers, right_answers(case.model), strict=True):
        assert isinstance(answer, dict), answer
        np.testing.assert_allclose(answer["probabilities"], right["probabilities"], atol=1e-5)
        assert answer["label"].tolist() == right["label"].tolist()
    target.close()
    while batches_of(server, case.model, BATCH) == before:  # counted after the answers were sent
        time.sleep(0.01)
    assert batches_of(server, case.model, BATCH) == before + 1
