"""Keeps what runs on this machine from being asked through a proxy."""

from collections.abc import Mapping

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NAMES = ("no_proxy", "NO_PROXY")
_ONLY_IF_SET = ("no_grpc_proxy",)  # in its place gRPC reads no_proxy


def without_proxy_for_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Adds the loopback addresses to those that the variables of an environment ask directly.

    curl (in Triton, for its traces), Python and gRPC read them.

    Example:
        >>> without_proxy_for_loopback({"no_proxy": "intern"})["no_proxy"]
        'intern,localhost,127.0.0.1,::1'
    """
    made = dict(environment)
    for name in (*_NAMES, *(name for name in _ONLY_IF_SET if name in environment)):
        # Where one of the two is set, a program may read only that one.
        before = environment.get(name) or environment.get(name.swapcase(), "")
        direct = [address for address in before.split(",") if address.strip()]
        missing = [address for address in _LOOPBACK if address not in direct]
        made[name] = ",".join(direct if "*" in direct else [*direct, *missing])
    return made
