"""Whatever happens to a server, a client with the house's retry settings loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clients import DigitResult, RetryPolicy, ServingError, UnavailableError
from clients.base import ServingClient
from deploy.cluster.keys import key_files
from server.processes import process_table
from tests.deploy.cluster import Running, eventually
from tests.deploy.conftest import Image, digit_calls
from tests.deploy.load import Call, SteadyLoad, steady_load_without_losses

pytestmark = pytest.mark.e2e

RATE = 40
"""Requests a second, half of them over HTTP and half over gRPC."""


@pytest.fixture(scope="module")
def clients(cluster: Running) -> Iterator[list[ServingClient]]:
    made = [cluster.client(protocol, concurrency=128) for protocol in ("http", "grpc")]
    yield made
    for client in made:
        client.close()


@pytest.fixture
def load(
    cluster: Running,
    clients: list[ServingClient],
    images: list[Image],
    expected: list[DigitResult],
) -> Iterator[SteadyLoad]:
    """The load; once it has ended, every answer must have been right."""
    assert eventually(cluster.all_up)
    with steady_load_without_losses(digit_calls(clients, images, expected), RATE) as running:
        yield running


def test_a_killed_server_comes_back_and_nothing_is_lost(cluster: Running, load: SteadyLoad) -> None:
    before = cluster.replica("r1")
    os.kill(cluster.triton_pid("r1"), signal.SIGKILL)
    assert eventually(lambda: not cluster.load_balancer.is_up("r1"))
    load.more(RATE)
    assert eventually(lambda: cluster.replica("r1").starts > before.starts)
    assert eventually(cluster.all_up)
    assert cluster.replica("r1").http == before.http


@pytest.mark.parametrize(
    "which", [pytest.param(0, id="first"), pytest.param(-1, id="last", marks=pytest.mark.long)]
)
def test_a_killed_model_process_takes_its_server_out_and_nothing_is_lost(
    cluster: Running, load: SteadyLoad, which: int
) -> None:
    before = cluster.replica("r2").starts
    os.kill(sorted(cluster.stubs("r2"))[which], signal.SIGKILL)
    # Triton would go on calling itself ready: readiness has to tell the truth.
    assert eventually(lambda: not cluster.load_balancer.is_up("r2"))
    load.more(RATE)
    assert eventually(lambda: cluster.replica("r2").starts > before)
    assert eventually(cluster.all_up)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_model_process_killed_with_requests_in_it_loses_none_of_them(
    cluster: Running, protocol: str
) -> None:
    assert eventually(cluster.all_up)
    before = cluster.replica("r1").starts
    numbers = np.arange(20, dtype=np.float32)
    with (
        cluster.client(protocol, concurrency=20) as client,
        ThreadPoolExecutor(20) as pool,
    ):
        client.infer("slow", {"x": numbers[:1]})
        answers = [pool.submit(client.infer, "slow", {"x": numbers[i : i + 1]}) for i in range(20)]
        assert eventually(lambda: cluster.load_balancer.under_way("r1") >= 4)
        os.kill(stub_of(cluster, "r1", "slow"), signal.SIGKILL)
        assert [float(answer.result()["y"][0]) for answer in answers] == numbers.tolist()
    assert eventually(lambda: cluster.replica("r1").starts > before)
    assert eventually(cluster.all_up)


def stub_of(cluster: Running, replica: str, model: str) -> int:
    """The process of a Python model."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in cluster.stubs(replica)}
    return next(pid for pid, line in lines.items() if f"/{model}/".encode() in line)


@pytest.mark.parametrize(
    "answers",
    [pytest.param(3 * RATE, id="short"), pytest.param(20 * RATE, id="20s", marks=pytest.mark.long)],
)
def test_a_stopped_server_is_left_out_and_nothing_is_lost(
    cluster: Running, load: SteadyLoad, answers: int
) -> None:
    before = cluster.replica("r1")
    stopped = [cluster.triton_pid("r1"), *cluster.stubs("r1")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert eventually(lambda: not cluster.load_balancer.is_up("r1"))
        load.more(answers)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert eventually(cluster.all_up)
    assert cluster.replica("r1") == before  # It was not started again.


def test_a_rolling_restart_loses_nothing(cluster: Running, load: SteadyLoad) -> None:
    before = [replica.starts for replica in cluster.state.replicas]
    done = cluster.command("roll")
    assert done.returncode == 0, done.stderr
    assert [r.starts for r in cluster.state.replicas] == [starts + 1 for starts in before]
    assert len(load.tally.failures) == 0


def test_a_reload_of_the_load_balancer_loses_nothing_and_reads_new_keys(
    cluster: Running, load: SteadyLoad, images: list[Image]
) -> None:
    files = key_files(cluster.run_dir, "inference")
    files.plain.write_text(files.plain.read_text() + "other a-key-of-another-client\n")
    workers = haproxy_workers(cluster)
    done = cluster.command("reload")
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: bool(haproxy_workers(cluster) - workers))
    load.more(RATE)
    assert eventually(lambda: not haproxy_workers(cluster) & workers), "the old one does not end"
    with cluster.client("http", cluster.access(name="other")) as client:
        assert client.classify_digits(images[:1])
    assert len(load.tally.failures) == 0


def haproxy_workers(cluster: Running) -> set[int]:
    """The processes of HAProxy that answer."""
    master = cluster.state.front_pid
    return {p.pid for p in process_table() if p.parent == master and p.state != "Z"}


def test_an_overload_is_shed_and_leaves_nothing_behind(cluster: Running) -> None:
    """Four times what the servers can do: most is refused at once, the rest is answered."""
    assert eventually(cluster.all_up)
    capacity = measured_capacity(cluster)
    x = np.ones(1, dtype=np.float32)
    protocols = ("http", "grpc")
    clients = [
        cluster.client(protocol, retry=RetryPolicy(retries=0), concurrency=256)
        for protocol in protocols
    ]
    refused: Counter[str] = Counter()

    def call(client: ServingClient, protocol: str) -> Call:
        def make() -> str | None:
            try:
                given = client.infer("slow", {"x": x})["y"]
            except UnavailableError:
                refused[protocol] += 1
                return None
            except ServingError as error:
                return repr(error)
            return None if given == x else f"got {given}"

        return make

    def memory() -> int:
        return sum(private_kilobytes(pid) for pid in all_processes(cluster))

    before = memory()
    with SteadyLoad(list(map(call, clients, protocols)), 4 * capacity, 512) as load:
        load.more(int(12 * capacity))
        middle = memory()
        load.more(int(12 * capacity))
        after = memory()
    for client in clients:
        client.close()
    tally = load.tally
    assert tally.failures == []
    assert tally.right == tally.sent
    assert tally.sent - refused.total() > tally.sent // 10
    # What was accepted never waited behind more than the limit.
    for protocol in protocols:
        assert refused[protocol] > tally.sent // 6
        rows = cluster.load_balancer.statistics()
        row = next(
            r for r in rows if (r["pxname"], r["svname"]) == (f"{protocol}_servers", "BACKEND")
        )
        assert int(row["qmax"]) <= 16 + 4  # Threads of HAProxy count at the same time.
    assert after - middle < 0.1 * before, f"{before} {middle} {after} kB"
    assert cluster.all_up()
    with cluster.client("http") as client:
        assert client.infer("slow", {"x": x})["y"] == x


def measured_capacity(cluster: Running) -> float:
    """Requests a second that the servers answer when none is missing and none waits long."""
    x = np.ones(1, dtype=np.float32)
    with cluster.client("grpc", concurrency=8) as client, ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        count = len(list(pool.map(lambda _: client.infer("slow", {"x": x}), range(60))))
        return count / (time.monotonic() - started)


def all_processes(cluster: Running) -> set[int]:
    """The servers with their model processes, and HAProxy."""
    found = set(haproxy_workers(cluster))
    for replica in cluster.state.replicas:
        found |= {cluster.triton_pid(replica.name), *cluster.stubs(replica.name)}
    return found


def private_kilobytes(pid: int) -> int:
    """Memory of a process's own."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        fields = dict(line.split(":", 1) for line in status if ":" in line)
    return int(fields.get("RssAnon", "0 kB").split()[0])
