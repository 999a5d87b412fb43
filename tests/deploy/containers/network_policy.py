"""A NetworkPolicy as rules of iptables in a container's own network namespace, which enforce it.

As Kubernetes means it: only what a rule admits comes in, or goes out; answers belong to what they
answer; the node itself may always ask, since its kubelet has the probes. Where a plugin of a
cluster would drop, this refuses, so that a test need not wait for what never comes. A field that
this module does not know is an error.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.deploy.containers.pod_options import Object
from tests.deploy.containers.podman import Container

_REFUSED = ("-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT")
_ANSWERS = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"


@dataclass(frozen=True)
class Peer:
    """Another pod.

    Attributes:
        address: Its address.
        namespace: The name of its namespace, which is a label of that.
        labels: Its own labels.
    """

    address: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """What rules speak of.

    Attributes:
        namespace: That of the policy.
        node: The address that the kubelet asks from.
        peers: All other pods.
    """

    namespace: str
    node: str
    peers: Sequence[Peer]


def enforce(policy: Object, described: Object, container: Container, cluster: Cluster) -> None:
    """Has a policy, in place of an earlier one, hold for a pod.

    Args:
        policy: The NetworkPolicy.
        described: The pod's container as its specification has it.
        container: What runs.
        cluster: What the rules speak of.
    """
    named = {each["name"]: each["containerPort"] for each in described["ports"]}
    text = "\n".join(["*filter", *_rules(policy["spec"], named, cluster), "COMMIT", ""])
    command = [f"--net=/proc/{container.state()['Pid']}/ns/net", "iptables-restore"]
    done = subprocess.run(
        ["nsenter", *command], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"


def _rules(spec: Object, named: Mapping[str, int], cluster: Cluster) -> Iterator[str]:
    assert spec.keys() <= {"podSelector", "policyTypes", "ingress", "egress"}, spec.keys()
    if "Ingress" in spec["policyTypes"]:
        yield "-A INPUT -i lo -j ACCEPT"
        yield f"-A INPUT {_ANSWERS}"
        yield f"-A INPUT -s {cluster.node} -j ACCEPT"
        for rule in spec.get("ingress", ()):
            for match in _matches(rule, "from", "-s", named, cluster):
                yield f"-A INPUT{match} -j ACCEPT"
        yield from (f"-A INPUT {refused}" for refused in _REFUSED)
    if "Egress" in spec["policyTypes"]:
        yield "-A OUTPUT -o lo -j ACCEPT"
        yield f"-A OUTPUT {_ANSWERS}"
        for rule in spec.get("egress", ()):
            for match in _matches(rule, "to", "-d", named, cluster):
                yield f"-A OUTPUT{match} -j ACCEPT"
        yield from (f"-A OUTPUT {refused}" for refused in _REFUSED)


def _matches(
    rule: Object, side: str, option: str, named: Mapping[str, int], cluster: Cluster
) -> Iterator[str]:
    """What a rule admits, an address and a port at a time."""
    assert rule.keys() <= {side, "ports"}, rule.keys()
    addresses = [""]
    if side in rule:
        chosen = [p for p in cluster.peers if any(_is_chosen(p, s, cluster) for s in rule[side])]
        addresses = [f" {option} {peer.address}" for peer in chosen]
    ports = [""]
    if "ports" in rule:
        ports = [
            f" -p {each['protocol'].lower()} --dport {named.get(each['port'], each['port'])}"
            for each in rule["ports"]
        ]
    yield from (f"{address}{port}" for address in addresses for port in ports)


def _is_chosen(peer: Peer, selectors: Object, cluster: Cluster) -> bool:
    assert selectors.keys() <= {"namespaceSelector", "podSelector"}, selectors.keys()
    if "namespaceSelector" in selectors:
        of_namespace = {"kubernetes.io/metadata.name": peer.namespace}
        if not _has_labels(of_namespace, selectors["namespaceSelector"]):
            return False
    elif peer.namespace != cluster.namespace:
        return False
    return _has_labels(peer.labels, selectors.get("podSelector", {}))


def _has_labels(labels: Mapping[str, str], selector: Object) -> bool:
    assert selector.keys() <= {"matchLabels"}, selector.keys()
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
