"""Locust started by a user: its own options, statistics, workers, shapes and page work."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.loadtests.command import ROOT, command, environment
from tests.loadtests.load.locust_process import finish, rows, run, start, statistics

pytestmark = pytest.mark.e2e


@pytest.fixture
def at(small_server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for a server whose answers are those of the repository that is given."""
    monkeypatch.setenv("TRITON_GRPC_URL", small_server.grpc_url)
    served = str(small_server.settings.model_repository)
    return ["--host", small_server.http_url, "--inputs", "20", "--model-repository", served]


def test_statistics_are_filled_and_written(at: list[str], tmp_path: Path) -> None:
    at[1] = f"http://{at[1]}/"
    users = ["MnistCnnHttp", "MnistCnnGrpcStream"]
    code, output = run(
        tmp_path, *at, "-u", "4", "-r", "4", "-t", "2s", "--html", "out.html", *users
    )
    assert code == 0, output
    found = statistics(tmp_path)
    assert found.keys() == {("http", "mnist_cnn"), ("grpc-stream", "mnist_cnn")}
    for row in found.values():
        assert int(row["Request Count"]) > 10
        assert int(row["Failure Count"]) == 0
        assert float(row["Min Response Time"]) > 0.1
        # Ten probabilities and a label: it is the answer that is measured, not the request.
        assert 40 < float(row["Average Content Size"]) < 1000
    assert "mnist_cnn" in (tmp_path / "out.html").read_text()


def test_wrong_answers_are_failures(at: list[str], tmp_path: Path) -> None:
    # The labels of the server are in reverse; the published model is what is expected.
    at[-1] = str(REPOSITORY)
    code, output = run(tmp_path, *at, "-t", "1s", "MnistCnnGrpc")
    assert code == 1, output
    (row,) = statistics(tmp_path).values()
    assert row["Failure Count"] == row["Request Count"] != "0"
    (failure,) = rows(tmp_path / "out_failures.csv")
    assert failure["Error"] == "wrong answer: another label"


COUNTING = """
import json
import gevent
from locust import events
counts = {}

@events.init.add_listener
def begin(environment, **_):
    # Ends once two workers have asked, however busy the machine is.
    @events.worker_report.add_listener
    def count(client_id, data, **_):
        counts[client_id] = counts.get(client_id, 0) + data["stats_total"]["num_requests"]
        if len(counts) == 2 and min(counts.values()) > 0:
            gevent.spawn(environment.runner.quit)

@events.quitting.add_listener
def write(**_):
    with open("counts.json", "w") as file:
        json.dump(counts, file)
"""


def test_processes_that_locust_forks_share_the_load(at: list[str], tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    code, output = run(
        tmp_path,
        *(*at, "--processes", "2", "-u", "2", "-r", "2", "-t", "90s", "MnistCnnGrpc"),
        beside=str(tmp_path / "counting.py"),
    )
    assert code == 0, output
    # A library with threads of its own ends so, if it was loaded before the fork.
    assert "terminate called" not in output
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert len(counts) == 2
    assert min(counts.values()) > 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_workers_elsewhere_get_everything_from_the_master(at: list[str], tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    port = str(free_port())
    # Neither models nor data: a worker cannot draw or compute anything itself.
    nowhere = str(tmp_path / "counting.py" / "below a file")
    bare = {"MODEL_REPOSITORY": nowhere, "XDG_CACHE_HOME": nowhere}
    joining = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    workers = [start(tmp_path / name, *joining, variables=bare) for name in ("one", "two")]
    try:
        master = start(
            tmp_path / "master",
            *("--master", "--master-bind-port", port, "--expect-workers", "2", "--headless"),
            *(*at, "--csv", "out", "-u", "4", "-r", "4", "-t", "90s", "MnistCnnHttp"),
            beside=str(tmp_path / "counting.py"),
        )
        code, output = finish(master)
        ended = [finish(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert code == 0, output
    assert [code for code, _ in ended] == [0, 0], ended
    counts = json.loads((tmp_path / "master" / "counts.json").read_text())
    assert len(counts) == 2
    assert min(counts.values()) > 0
    assert not any("xception" in said for _, said in ended), ended
    (row,) = statistics(tmp_path / "master").values()
    assert row["Failure Count"] == "0"


OWN = """
from locust import LoadTestShape, constant_pacing
from loadtests.locustfile import MnistCnnHttp

class Slow(MnistCnnHttp):
    wait_time = constant_pacing(0.5)

class OneThenThree(LoadTestShape):
    def tick(self):
        seconds = self.get_run_time()
        return None if seconds > 5 else (3, 3) if seconds > 2 else (1, 1)
"""


def test_a_shape_and_a_user_of_ones_own_take_part(at: list[str], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    code, output = run(tmp_path, *at, "--csv-full-history", "Slow", beside=str(tmp_path / "own.py"))
    assert code == 0, output
    users = {row["User Count"] for row in rows(tmp_path / "out_stats_history.csv")}
    assert {"1", "3"} <= users <= {"0", "1", "2", "3"}
    (row,) = statistics(tmp_path).values()
    # Two requests a second of each user, however fast the answers: its wait time holds.
    assert 5 <= int(row["Request Count"]) <= 30


ASKED = """
import json
import gevent
from locust import events
asked = []

@events.init.add_listener
def begin(environment, **_):
    # Ends after fifty requests, however busy the machine is.
    @events.request.add_listener
    def note(request_type, name, **_):
        asked.append((request_type, name))
        if len(asked) == 50:
            gevent.spawn(environment.runner.quit)

@events.quitting.add_listener
def write(**_):
    with open("asked.json", "w") as file:
        json.dump(asked, file)
"""


def test_tags_choose_where_no_user_is_named(at: list[str], tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(ASKED)
    chosen = ["--tags", "mnist_cnn", "--exclude-tags", "grpc", "grpc-shm"]
    code, output = run(
        tmp_path,
        *(*at, *chosen, "-u", "3", "-r", "3", "-t", "90s"),
        beside=str(tmp_path / "asked.py"),
    )
    assert code == 0, output
    assert "no tasks left" not in output
    asked = map(tuple, json.loads((tmp_path / "asked.json").read_text()))
    assert {*asked} == {(kind, "mnist_cnn") for kind in ("http", "http-json", "grpc-stream")}


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["--host", "https://localhost:1"], 2, "--host is 'https://localhost:1': it has to be"),
        ([], 2, "--host: expected host:port"),
        (["--host", "127.0.0.1:1"], 3, "no answer from 127.0.0.1:1"),
        (["--host", "127.0.0.1:1", "--seed", "-1"], 2, "SEED is -1: it has to be from 0"),
    ],
)
def test_what_cannot_be_used_ends_it_before_the_load(
    arguments: list[str], expected: int, message: str, tmp_path: Path
) -> None:
    code, output = run(tmp_path, *arguments, "-t", "1s", "MnistCnnHttp")
    assert code == expected, output
    assert message in output
    assert "Traceback" not in output


class Page:
    """Locust's web page, as a browser talks to it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, form: dict[str, Any] | None = None) -> Any:
        """What a request answers; a form is posted."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        body = urlencode(form, doseq=True) if form else None
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        connection.request("POST" if form else "GET", path, body, kind)
        return json.loads(connection.getresponse().read())

    def requests_by_kind(self) -> dict[tuple[str, str], int]:
        """How many requests the page shows, by protocol and model."""
        stats = self.get("/stats/requests")["stats"]
        return {(s["method"], s["name"]): s["num_requests"] for s in stats if s["method"]}


def eventually(look: Callable[[], Any]) -> Any:
    """What a look finds, once that is something."""
    for _ in range(300):
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("nothing was found for a minute")


@contextmanager
def page_of(process: "subprocess.Popen[str]", port: int) -> Iterator[Page]:
    """The page of a process that runs Locust, for the length of a `with` block."""
    page = Page(port)
    with process:
        try:
            eventually(lambda: page.get("/stats/requests"))
            yield page
        finally:
            for each in (process, *psutil.Process(process.pid).children(recursive=True)):
                each.terminate()
            process.communicate(timeout=60)


def test_users_are_chosen_on_the_page(at: list[str], tmp_path: Path) -> None:
    port = free_port()
    host, *others = at[1:]
    arguments = ["--class-picker", "--web-host", "127.0.0.1", "--web-port", str(port)]
    with page_of(start(tmp_path, *arguments, *others), port) as page:
        form = {"user_count": 2, "spawn_rate": 2, "host": host, "user_classes": ["MnistCnnGrpc"]}
        assert page.get("/swarm", form)["success"]
        assert eventually(page.requests_by_kind).keys() == {("grpc", "mnist_cnn")}


def test_make_loadtest_ui_shows_the_model_that_is_asked_for(
    small_server: TritonServer, tmp_path: Path
) -> None:
    port = free_port()
    served = str(small_server.settings.model_repository)
    variables = {"MODEL": "mnist_cnn", "PROTOCOL": "http", "MODEL_REPOSITORY": served}
    process = subprocess.Popen(
        [*command(tmp_path), "--ui", "--ui-port", str(port)],
        cwd=ROOT,
        env=environment(small_server, variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with page_of(process, port) as page:
        form = {"user_count": 2, "spawn_rate": 2, "host": small_server.http_url}
        assert page.get("/swarm", form)["success"]
        assert eventually(page.requests_by_kind).keys() == {("http", "mnist_cnn")}
