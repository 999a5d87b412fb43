"""Publishes versions to a running cluster, tries them on a part of the requests, goes back."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deploy.cluster.canary import Evaluation, evaluate, front_models
from deploy.cluster.errors import ClusterError
from deploy.cluster.model_control import is_settled, load_model
from deploy.cluster.operations import Operator
from deploy.cluster.releases import Canary, Releases, Versions, lay_out_replica, read_releases
from deploy.cluster.state import ClusterState, ReplicaState
from server.readiness import is_ready

MAX_LOSS = 0.02
"""Accuracy on the held-out inputs that a new version may lose to the old one."""


@dataclass(frozen=True)
class Comparison:
    """What a served and a new version answered about the same inputs."""

    model: str  # which clients ask, such as `mnist` or `sentiment`
    old: Evaluation
    new: Evaluation

    def check(self) -> None:
        """Raises `ClusterError` where the new version fails calls, or is right too rarely."""
        if self.new.failures:
            raise ClusterError(
                f"the new version fails {self.new.failures} of {len(self.new.labels)} calls: "
                f"{self.new.failure}"
            )
        if self.new.accuracy < self.old.accuracy - MAX_LOSS:
            raise ClusterError(
                f"the new version is right on {self.new.accuracy:.1%} of the held-out inputs and "
                f"the old one on {self.old.accuracy:.1%}; it may lose {MAX_LOSS:.0%}"
            )


class Publisher:
    """Changes what a running cluster serves, one server after the other.

    Args:
        operator: Takes servers out of service and back.
        repository: The folder of models.
    """

    def __init__(self, operator: Operator, repository: Path) -> None:
        self._operator = operator
        self._run_dir = operator.run_dir
        self._repository = repository

    def publish(self, versions: Versions, percent: int = 0) -> list[Comparison]:
        """Publishes versions; the old ones serve until the new ones have answered.

        Args:
            versions: The new version of each model.
            percent: The part of the requests that goes to them; 0 for all.

        Returns:
            One comparison for each model that clients ask.

        Raises:
            ClusterError: A version does not load, fails, or answers worse than the old one;
                the old ones go on serving.
        """
        with self._operator.operation() as state:
            releases = self._releases()
            new = releases.with_versions(versions)
            if percent:
                if len(state.replicas) < 2:
                    raise ClusterError(
                        "a canary needs a server of its own beside the others: "
                        "start with REPLICAS=2"
                    )
                canary = Canary(versions, state.replicas[-1].name, percent)
                new = replace(releases, canary=canary)
            return self._move(state, releases, new)

    def promote(self) -> list[Comparison]:
        """Publishes to all servers what the canary serves.

        Raises:
            ClusterError: There is no canary, or as for `publish`.
        """
        with self._operator.operation() as state:
            releases = self._releases()
            versions = _canary_of(releases).versions
            return self._move(state, releases, releases.with_versions(versions))

    def roll_back(self) -> Releases:
        """Ends the canary or, without one, serves again what was served before.

        Raises:
            ClusterError: There is no earlier release.
        """
        with self._operator.operation() as state:
            releases = self._releases()
            back = releases.rolled_back()
            self._move(state, releases, back, checked=False)
            return back

    def compare(self) -> list[Comparison]:
        """Asks the canary and another server about the same inputs.

        Raises:
            ClusterError: There is no canary.
        """
        with self._operator.operation() as state:
            canary = _canary_of(self._releases())
            new = state.replica(canary.replica)
            old = next(r for r in state.replicas if r.name != canary.replica)
            fronts = front_models(self._repository, canary.versions)
            return [Comparison(m.name, evaluate(old, m), evaluate(new, m)) for m in fronts]

    def _releases(self) -> Releases:
        return read_releases(self._run_dir, self._repository)

    def _move(
        self, state: ClusterState, old: Releases, new: Releases, *, checked: bool = True
    ) -> list[Comparison]:
        """Has each server load what the new releases change; all go back where one fails."""
        with self._operator.second_server(state) as both:
            return self._move_each(both, old, new, checked=checked)

    def _move_each(
        self, state: ClusterState, old: Releases, new: Releases, *, checked: bool
    ) -> list[Comparison]:
        changes = {
            replica: change
            for replica in reversed(state.replicas)
            if (change := _changes(old.served(replica.name), new.served(replica.name)))
        }
        changed = [model for change in changes.values() for model in change]
        fronts = front_models(self._repository, changed) if checked else []
        # A server that still serves the old versions.
        before = [(model, evaluate(next(iter(changes)), model)) for model in fronts]
        found: dict[str, Comparison] = {}
        done: list[ReplicaState] = []
        try:
            for replica, change in changes.items():
                with self._operator.out_of_service(replica.name):
                    try:
                        self._load(state, replica, new, change)
                        self._operator.wait_for(
                            partial(is_ready, replica.http_url),
                            f"{replica.name} is not ready with what it loaded",
                        )
                        for model, earlier in before:
                            found[model.name] = Comparison(
                                model.name, earlier, evaluate(replica, model)
                            )
                            found[model.name].check()
                    except ClusterError:
                        # Before it is asked again.
                        self._restore(state, replica, old, change)
                        raise
                done.append(replica)
                self._operator.wait_until_in_service(replica.name)
                loaded = ", ".join(f"{model} {version}" for model, version in change.items())
                self._operator.log(f"{replica.name} serves {loaded}")
        except ClusterError:
            for replica in done:
                with self._operator.out_of_service(replica.name):
                    self._restore(state, replica, old, changes[replica])
            self._operator.log("the old versions go on serving")
            raise
        new.write(self._run_dir)
        if old.canary or new.canary:
            self._operator.reload()
        return list(found.values())

    def _restore(
        self, state: ClusterState, replica: ReplicaState, old: Releases, change: Versions
    ) -> None:
        self._load(state, replica, old, change)
        if not is_ready(replica.http_url):
            # Triton counts a version that failed to load as not ready, for as long as it runs.
            self._operator.restart(replica.name)

    def _load(
        self, state: ClusterState, replica: ReplicaState, releases: Releases, change: Versions
    ) -> None:
        folder = self._run_dir.absolute() / "replicas" / replica.name
        lay_out_replica(self._repository, releases, replica.name, folder)
        for model in change:
            load_model(replica, model, state.admin_token, self._operator.step_timeout)
            self._operator.wait_for(
                partial(is_settled, replica, model, state.admin_token),
                f"{replica.name} does not come to rest with {model}",
            )


def _canary_of(releases: Releases) -> Canary:
    if releases.canary is None:
        raise ClusterError("there is no canary: make publish CANARY=10 starts one")
    return releases.canary


def _changes(old: Versions, new: Versions) -> Versions:
    return {model: version for model, version in new.items() if old.get(model) != version}
