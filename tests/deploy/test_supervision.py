"""What ends or hangs comes back, and at the end nothing is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from server.processes import living_in_group
from tests.deploy.cluster import eventually, make_repository, running_cluster

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
        done = cluster.command("roll")
        assert "needs two servers" in done.stderr
