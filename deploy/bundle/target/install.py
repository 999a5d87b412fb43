"""Installs an unpacked bundle, whose digests `install.sh` has checked, into a folder.

It runs with the target's own Python, before anything is installed, so it needs nothing but the
standard library.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Container, Sequence
from pathlib import Path

from deploy.bundle.target.bundle import Bundle
from deploy.bundle.target.commands import write_commands
from deploy.bundle.target.environment import Environment
from deploy.bundle.target.errors import InstallError
from deploy.bundle.target.packages import find_package
from deploy.bundle.target.prefix import Prefix

_INTERRUPTED = 130
_MODULES_ROOM = 1.2  # what compiled modules add to the files, about
_ONNXRUNTIME = {"cpu": ("onnxruntime", "onnxruntime-gpu"), "gpu": ("onnxruntime-gpu",)}
_RUN = "deploy/bundle/target/run.py"
_CUDA_LIBRARIES = ("nvidia-cudnn-cu13",)


def main(arguments: Sequence[str]) -> int:
    """Installs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="install.sh")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--prefix", type=Path, required=True)
    parser.add_argument("--models", type=_names, default=[])
    parser.add_argument("--without", type=_names, default=[])
    parser.add_argument("--unpacked", type=Path, help="a folder to remove at the end")
    options = parser.parse_args(arguments)
    prefix = Prefix(options.prefix)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    try:
        bundle = Bundle(options.bundle, options.without, options.models)
        with prefix.locked(), prefix.new_release() as release:
            _install(bundle, release, move=options.unpacked is not None)
    except InstallError as error:
        problem, code = f"error: {error}", 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        problem, code = f"error: {error.strerror or error}{where}", 1
    except KeyboardInterrupt:
        problem, code = "interrupted", _INTERRUPTED
    else:
        problem, code = "", 0
    finally:
        if options.unpacked:
            shutil.rmtree(options.unpacked, ignore_errors=True)
        prefix.forget_if_empty()
    if problem:
        print(f"{problem}; what was installed before is as it was", file=sys.stderr)
        return code
    took = time.monotonic() - began
    print(f"installed {bundle.name} for {bundle.device} in {prefix.path} in {took:.0f} s:")
    for command in sorted((prefix.path / "bin").iterdir()):
        print(f"  {command}")
    return 0


def _install(bundle: Bundle, release: Path, *, move: bool) -> None:
    free, needed = shutil.disk_usage(release).free, bundle.installed_bytes * _MODULES_ROOM
    if free < needed:
        raise InstallError(
            f"{release} has room for {free / 1e6:.0f} MB and needs {needed / 1e6:.0f} MB"
        )
    environment = Environment(release / "venv")
    print(f"making an environment with {len(bundle.wheels)} packages ...", flush=True)
    pip = bundle.wheel("pip")
    environment.make(pip)
    environment.install([path for path in bundle.wheels if path != pip])
    if "onnxruntime" in bundle.left_out:
        _link_onnxruntime(bundle, environment)
    environment.check()
    app = release / "app"
    bundle.place_code(app, move=move)
    environment.see(app)
    environment.compile(app)
    said = environment.run(app / _RUN, "deploy.bundle.target.check", bundle.device)
    if said:
        print(said, flush=True)
    for name in ("bundle.json", "SHA256SUMS"):
        shutil.copy2(bundle.folder / name, release / name)
    write_commands(
        release / "bin",
        defaults(bundle.device, bundle.left_out),
        kit="gpu-check" not in bundle.left_out,
    )


def _link_onnxruntime(bundle: Bundle, environment: Environment) -> None:
    names = _ONNXRUNTIME[bundle.device]
    package = find_package(names)
    if package is None:
        raise InstallError(
            f"{sys.executable} has no {' or '.join(names)}, which this installation leaves out"
        )
    print(f"takes {package.name} {package.version} from {package.folder}", flush=True)
    environment.link(package)


def defaults(device: str, left_out: Container[str]) -> dict[str, str]:
    """What the commands set where the user sets nothing else.

    Args:
        device: What the bundle serves on.
        left_out: What of it is not installed.
    """
    # Whatever this machine has: what one was made for is not served by the other in silence.
    chosen = {"DEVICE": device}
    package = find_package(_CUDA_LIBRARIES) if device == "gpu" else None
    # The server finds those of the Python that environments are made from, not of an environment.
    if package and "cuda-libraries" in left_out and sys.prefix != sys.base_prefix:
        chosen["CUDA_LIBRARIES"] = str(package.folder / "nvidia")
    return chosen


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
