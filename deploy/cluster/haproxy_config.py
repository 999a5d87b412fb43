"""HAProxy's configuration: rendered from the settings, checked by HAProxy before it counts."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from deploy.cluster.errors import ClusterError
from deploy.cluster.keys import ROLES, key_files
from deploy.cluster.secure_files import write_private
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import ReplicaState
from server.ports import Ports

_PROTOCOLS = 2
_STREAMING_KEYS = 8
"""How many keys may hold all the streams that one may, before a server has enough of them."""
_TEMPLATE = "haproxy.cfg.jinja"


@dataclass(frozen=True)
class HAProxyLayout:
    """The addresses and paths that the configuration names, as HAProxy sees them."""

    ports: Ports  # where HAProxy listens
    folder: Path  # of the keys' digests
    socket: Path  # where HAProxy takes commands
    certificate: Path  # PEM file of certificate and key
    hosts: Mapping[str, str] = field(default_factory=dict)  # by server; loopback if missing
    metrics_bind: str = "127.0.0.1"  # of HAProxy's own metrics
    resolve_names: bool = False  # whether the hosts are names, which /etc/resolv.conf resolves


def haproxy_program() -> str:
    """Finds HAProxy's program; raises `ClusterError` where it is not installed."""
    # Debian keeps it where only root's PATH leads.
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ClusterError("haproxy is not installed: on Debian, apt-get install haproxy")
    return found


def render_config(
    settings: ClusterSettings,
    layout: HAProxyLayout,
    replicas: Sequence[ReplicaState],
    *,
    weights: Mapping[str, int],
    admin_token: str,
) -> str:
    """Renders the text of haproxy.cfg; `weights` are the servers' shares of the requests."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML
    )
    under_way = settings.max_in_flight * len(replicas) + settings.max_waiting
    return environment.get_template(_TEMPLATE).render(
        settings=settings,
        layout=layout,
        replicas=replicas,
        weights=weights,
        admin_token=admin_token,
        digests={role: key_files(layout.folder, role).digests for role in ROLES},
        max_connections=4 * _PROTOCOLS * under_way + _STREAMING_KEYS * settings.stream_limit + 1000,
        streams_a_server=_STREAMING_KEYS * settings.stream_limit,
        threads=min(4, os.cpu_count() or 1),
    )


def write_config(run_dir: Path, text: str) -> Path:
    """Replaces the configuration by one that HAProxy accepts, and returns its file.

    Raises:
        ClusterError: HAProxy refuses it, in its own words; the old one stays.
    """
    file, candidate = run_dir / "haproxy.cfg", run_dir / "haproxy.new.cfg"
    write_private(candidate, text.encode())
    checked = subprocess.run(
        [haproxy_program(), "-c", "-f", candidate.name],
        cwd=run_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        alerts = [line for line in checked.stderr.splitlines() if line.startswith("[ALERT]")]
        raise ClusterError(f"HAProxy refuses {candidate}: {' '.join(alerts)}")
    candidate.rename(file)
    return file
