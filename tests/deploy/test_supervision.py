"""What ends or hangs comes back, and at the end nothing is left."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from clients import RetryPolicy
from server.command import ADMIN_METADATA
from server.processes import living_in_group
from tests.deploy.cluster import Running, eventually, make_repository, running_cluster

pytestmark = pytest.mark.e2e


def test_a_server_that_hangs_for_good_is_replaced_and_a_stop_leaves_nothing(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path, make_repository(tmp_path / "m"), HANG_TIMEOUT="2") as cluster:
        before = cluster.replica("r1").starts
        hanging = cluster.triton_pid("r1")
        os.kill(hanging, signal.SIGSTOP)
        assert eventually(lambda: cluster.replica("r1").starts > before)
        assert eventually(cluster.all_up)
        assert living_in_group(hanging) == frozenset()

        front = cluster.state.front_pid
        os.kill(front, signal.SIGKILL)
        assert eventually(lambda: cluster.state.front_pid not in {0, front})
        assert eventually(cluster.all_up)
        groups = [cluster.triton_pid(replica.name) for replica in cluster.state.replicas]
    assert all(living_in_group(group) == frozenset() for group in groups)
    assert not (cluster.run_dir / "cluster.json").exists()


def test_a_second_cluster_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "m")
    with running_cluster(tmp_path, repository, REPLICAS="1") as cluster:
        done = cluster.command()
        assert done.returncode == 1
        assert "a cluster runs in" in done.stderr
        assert cluster.all_up()


@pytest.mark.parametrize(
    "starts", [pytest.param(2, id="short"), pytest.param(10, id="10", marks=pytest.mark.long)]
)
def test_the_very_next_request_after_ready_is_answered(tmp_path: Path, starts: int) -> None:
    repository = make_repository(tmp_path / "m")
    x = np.ones(1, dtype=np.float32)
    for _ in range(starts):
        with running_cluster(tmp_path, repository, REPLICAS="2") as cluster:
            for protocol in ("http", "grpc", "http", "grpc"):  # to each server one of each
                with cluster.client(protocol, retry=RetryPolicy(retries=0)) as client:
                    assert client.infer("slow", {"x": x})["y"] == x


def test_what_waits_for_a_server_is_dropped_when_its_caller_hangs_up(tmp_path: Path) -> None:
    """One request at a time gets through: of those that wait behind it, none is computed."""
    repository = make_repository(tmp_path / "m")
    x = np.ones(1, dtype=np.float32)
    with running_cluster(tmp_path, repository, REPLICAS="1", MAX_IN_FLIGHT="1") as cluster:
        server = cluster.triton_pid("r1")
        with cluster.client("http", retry=RetryPolicy(retries=0), concurrency=8) as client:
            client.infer("slow", {"x": x})
            with ThreadPoolExecutor(8) as pool:
                os.kill(server, signal.SIGSTOP)
                try:
                    first = pool.submit(client.infer, "slow", {"x": x}, timeout=60)
                    assert eventually(lambda: cluster.load_balancer.under_way("r1") == 1)
                    waiting = [
                        pool.submit(client.infer, "slow", {"x": x}, timeout=1) for _ in range(6)
                    ]
                    assert all(each.exception() for each in waiting)
                finally:
                    os.kill(server, signal.SIGCONT)
                assert first.result()["y"] == x
            client.infer("slow", {"x": x})
        assert succeeded(cluster, "slow") == 3  # before, the first one, after


def succeeded(cluster: Running, model: str) -> int:
    """How many requests the server has answered."""
    secret = {ADMIN_METADATA: cluster.state.admin_token}
    with triton.InferenceServerClient(cluster.replica("r1").grpc_url) as client:
        stats = client.get_inference_statistics(model, headers=secret).model_stats
    return sum(version.inference_stats.success.count for version in stats)
