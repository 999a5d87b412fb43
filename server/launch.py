"""Starts the process of tritonserver."""

import os
import signal
import subprocess
from pathlib import Path

from server.command import server_command
from server.device import GPU, gpu_is_visible
from server.installation import Installation
from server.instances import prepare_reports
from server.parent_death import in_child
from server.ports import Ports
from server.processes import never_interrupt
from server.run_folder import RunFolder
from server.settings import Settings
from server.staging import server_environment, stage_backends, stub_environment
from server.triton_log import TritonLog

STOP_SIGNAL = signal.SIGINT
"""What tritonserver is told to stop by; it finishes the requests under way.

It understands SIGTERM as well, which is blocked in it: whoever sends that to every process of a
tree, as systemd does, means us, and Triton stops last, when nobody sends it requests any more.
"""


def launch(
    settings: Settings,
    installation: Installation,
    folder: RunFolder,
    ports: Ports,
    log: TritonLog,
    *,
    cuda: tuple[Path, ...],
    shm_prefix: str,
    secret: str,
) -> tuple[subprocess.Popen[bytes], tuple[str, ...]]:
    """Stages what Triton needs and starts it.

    Args:
        settings: How it is run.
        installation: The Triton to run.
        folder: Takes what is staged.
        ports: Where it listens itself, on loopback if a guard stands in front of it.
        log: Takes what it says.
        cuda: The folders of the CUDA libraries that our backend needs.
        shm_prefix: How the names of its shared memory begin.
        secret: The value of the header that opens administrative requests.

    Returns:
        The process, which leads a group of its own, and the names of those of our backends that
        fill in what the installation lacks.

    Raises:
        StartError: The folder or the log cannot be written.
    """
    gpu = settings.device == GPU
    backends = folder.path / "backends"
    with folder.writing():
        backends.mkdir()
        repository = folder.plain(settings.model_repository, "models")
        environment = server_environment(installation, folder, os.environ)
        environment |= prepare_reports(folder.path)
        if not gpu and gpu_is_visible(os.environ):
            environment["CUDA_VISIBLE_DEVICES"] = ""  # nor do Python models compute on it
        variables = stub_environment(folder, cuda, environment)
        filled_in = stage_backends(installation, backends, stub_variables=variables)
    command = server_command(
        settings,
        installation,
        ports,
        repository,
        backends,
        shm_prefix=shm_prefix,
        gpu=gpu,
        secret=secret,
    )
    tie = in_child(STOP_SIGNAL, ignore=[signal.SIGHUP])

    def prepare() -> None:
        tie()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        if not gpu:  # on a machine with one, its threads must not let the GPU wait
            never_interrupt()

    with log.open() as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[folder.lock],
            # A group of its own: Ctrl-C reaches only us, and Triton gets one signal from us.
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - only the main thread gets here
        )
    return process, filled_in
