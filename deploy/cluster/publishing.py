"""Publishes versions to a running cluster, tries them on a part of the requests, goes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.cluster.canary import Evaluation, evaluate, front_models
from deploy.cluster.errors import ClusterError
from deploy.cluster.load_balancer import Front
from deploy.cluster.model_control import is_settled, load_model
from deploy.cluster.operations import (
    one_operation,
    out_of_service,
    reload_front,
    restart,
    wait_for,
    wait_until_in_service,
)
from deploy.cluster.releases import Canary, Releases, Versions, lay_out_replica, read_releases
from deploy.cluster.state import ClusterState, ReplicaState
from server.readiness import is_ready

LARGEST_LOSS = 0.02
"""Accuracy on the held-out inputs that a new version may lose to the old one."""


@dataclass(frozen=True)
class Comparison:
    """Two versions, asked about the same inputs.

    Attributes:
        model: `mnist` or `sentiment`.
        old: what the served versions answered.
        new: what the new ones did.
    """

    model: str
    old: Evaluation
    new: Evaluation


class Publisher:
    """Changes what a running cluster serves, one server after the other."""

    def __init__(
        self, run_dir: Path, repository: Path, timeout: float, say: Callable[[str], None]
    ) -> None:
        """Prepares it.

        Args:
            run_dir: the cluster's folder.
            repository: the folder of models.
            timeout: seconds that each step may take.
            say: is told, in a line, what was done.
        """
        self._run_dir = run_dir
        self._repository = repository
        self._timeout = timeout
        self._say = say
        self._front = Front(run_dir)

    def publish(self, versions: Versions, percent: int = 0) -> list[Comparison]:
        """Publishes versions; the old ones serve until the new ones have answered.

        Args:
            versions: by model, the new version.
            percent: the part of the requests that is to go to them; 0 for all.

        Returns:
            How the new versions compare, one comparison for each model that clients ask.

        Raises:
            ClusterError: a version does not load, fails, or answers worse than the old one;
                the old ones go on serving.
        """
        with one_operation(self._run_dir) as state:
            releases = read_releases(self._run_dir, self._repository)
            new = releases.published(versions)
            if percent:
                new = releases.tried(Canary(versions, state.replicas[-1].name, percent))
            return self._move(state, releases, new)

    def promote(self) -> list[Comparison]:
        """Publishes to all servers what the canary serves.

        Raises:
            ClusterError: there is no canary, or as for `publish`.
        """
        with one_operation(self._run_dir) as state:
            releases = read_releases(self._run_dir, self._repository)
            if releases.canary is None:
                raise ClusterError("there is no canary: make publish CANARY=10 starts one")
            return self._move(state, releases, releases.published(releases.canary.versions))

    def roll_back(self) -> Releases:
        """Ends the canary or, without one, serves again what was served before.

        Raises:
            ClusterError: there is nothing to go back to.
        """
        with one_operation(self._run_dir) as state:
            releases = read_releases(self._run_dir, self._repository)
            back = releases.rolled_back()
            self._move(state, releases, back, checked=False)
            return back

    def compare(self) -> list[Comparison]:
        """Asks the canary and another server about the same inputs.

        Raises:
            ClusterError: there is no canary.
        """
        with one_operation(self._run_dir) as state:
            canary = read_releases(self._run_dir, self._repository).canary
            if canary is None:
                raise ClusterError("there is no canary: make publish CANARY=10 starts one")
            new = next(r for r in state.replicas if r.name == canary.replica)
            old = next(r for r in state.replicas if r.name != canary.replica)
            fronts = front_models(self._repository, canary.versions)
            return [Comparison(m.name, evaluate(old, m), evaluate(new, m)) for m in fronts]

    def _move(
        self, state: ClusterState, old: Releases, new: Releases, *, checked: bool = True
    ) -> list[Comparison]:
        if len(state.replicas) < 2:
            raise ClusterError(
                "one server cannot change what it serves and serve meanwhile: start with REPLICAS=2"
            )
        changes = {
            replica: _changes(old.served(replica.name), new.served(replica.name))
            for replica in reversed(state.replicas)
        }
        changed = [model for change in changes.values() for model in change]
        fronts = front_models(self._repository, changed)
        before = []
        if checked:
            # Of a server that serves the old versions still.
            reference = next((replica for replica, change in changes.items() if change), None)
            before = [(model, evaluate(reference, model)) for model in fronts] if reference else []
        found: dict[str, Comparison] = {}
        done: list[ReplicaState] = []
        try:
            for replica, change in changes.items():
                if not change:
                    continue
                with out_of_service(self._front, replica.name, self._timeout):
                    try:
                        self._load(state, replica, new, change)
                        wait_for(
                            partial(is_ready, replica.http_url),
                            self._timeout,
                            f"{replica.name} is not ready with what it loaded",
                        )
                        for model, earlier in before:
                            compared = Comparison(model.name, earlier, evaluate(replica, model))
                            _check(compared)
                            found[model.name] = compared
                    except ClusterError:
                        # Before it is asked again.
                        self._restore(state, replica, old, change)
                        raise
                done.append(replica)
                wait_until_in_service(self._front, replica.name, self._timeout)
                told = ", ".join(f"{model} {version}" for model, version in change.items())
                self._say(f"{replica.name} serves {told}")
        except ClusterError:
            for replica in done:
                with out_of_service(self._front, replica.name, self._timeout):
                    self._restore(state, replica, old, changes[replica])
            self._say("the old versions go on serving")
            raise
        new.write(self._run_dir)
        if old.canary or new.canary:
            reload_front(self._run_dir, self._timeout)
        return list(found.values())

    def _restore(
        self, state: ClusterState, replica: ReplicaState, old: Releases, change: Versions
    ) -> None:
        self._load(state, replica, old, change)
        if not is_ready(replica.http_url):
            # Triton counts a version that failed to load as not ready, for as long as it runs.
            restart(self._run_dir, replica.name, self._timeout)

    def _load(
        self, state: ClusterState, replica: ReplicaState, releases: Releases, change: Versions
    ) -> None:
        folder = self._run_dir.absolute() / "replicas" / replica.name
        lay_out_replica(self._repository, releases, replica.name, folder)
        for model in change:
            load_model(replica, model, state.admin_token, self._timeout)
            wait_for(
                partial(is_settled, replica, model, state.admin_token),
                self._timeout,
                f"{replica.name} does not come to rest with {model}",
            )


def _changes(old: Versions, new: Versions) -> Versions:
    return {model: version for model, version in new.items() if old.get(model) != version}


def _check(comparison: Comparison) -> None:
    old, new = comparison.old, comparison.new
    if new.failures:
        raise ClusterError(
            f"the new version fails {new.failures} of {len(new.labels)} calls: {new.failure}"
        )
    if new.accuracy < old.accuracy - LARGEST_LOSS:
        raise ClusterError(
            f"the new version is right on {new.accuracy:.1%} of the held-out inputs and the old "
            f"one on {old.accuracy:.1%}; it may lose {LARGEST_LOSS:.0%}"
        )
