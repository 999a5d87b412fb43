"""The images' files pass a linter, and start what really starts."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from deploy.docker import prepare
from server.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.cluster import ROOT

DOCKER = ROOT / "deploy" / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))


SERVERS = [file for file in DOCKERFILES if file.suffix in (".cpu", ".gpu")]


def instructions(file: Path, name: str) -> list[str]:
    """The arguments of every instruction of that name, with build arguments by their defaults."""
    text = re.sub(r"\\\n\s*", " ", file.read_text())
    for argument, default in re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE):
        text = text.replace(f"${{{argument}}}", default)
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.suffix)
def test_the_linter_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    command = [str(program), "-c", str(DOCKER / ".hadolint.yaml"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.suffix)
def test_an_image_is_pinned_and_not_run_by_root(file: Path) -> None:
    images = instructions(file, "FROM")
    assert images
    versioned = [image for image in images if image != "scratch"]
    assert [image for image in versioned if not re.search(r":[\w.-]*\d", image)] == []
    assert instructions(file, "USER")[-1] == "10001:10001"


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.suffix)
def test_what_is_copied_is_there(file: Path) -> None:
    copied = [each.split() for each in instructions(file, "COPY") if not each.startswith("--from")]
    sources = [source for *sources, _ in copied for source in sources]
    assert sources
    assert file not in SERVERS or {"server", "clients"} <= {Path(each).name for each in sources}
    context = ROOT / "model_repository" if file.suffix == ".models" else ROOT
    assert [source for source in sources if not (context / source).exists()] == []


class _Ready(BaseHTTPRequestHandler):
    """Answers a health check."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/health/ready" else 404)
        self.end_headers()


@pytest.mark.parametrize("file", SERVERS, ids=lambda file: file.suffix)
def test_a_health_check_asks_no_proxy(file: Path) -> None:
    (check,) = instructions(file, "HEALTHCHECK")
    _, option, script = json.loads(check.partition("CMD ")[2])
    with HTTPServer(("127.0.0.1", 0), _Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        script = script.replace(":8000", f":{server.server_port}")
        done = subprocess.run(
            [sys.executable, option, script],
            env={"http_proxy": "http://127.0.0.1:9"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", SERVERS, ids=lambda file: file.suffix)
def test_a_server_is_guarded_by_the_variables_of_its_image(file: Path, tmp_path: Path) -> None:
    pairs = dict(each.split("=", 1) for each in instructions(file, "ENV")[-1].split())
    known = {name.upper() for name in Settings.model_fields}
    assert pairs.keys() - {"PATH", "PYTHONDONTWRITEBYTECODE", "HOME"} <= known
    assert Settings.from_environment({**pairs, "MODEL_REPOSITORY": str(tmp_path)}).guarded


@pytest.mark.e2e
def test_what_the_cpu_image_starts_serves_and_is_healthy(tmp_path: Path) -> None:
    """As tests/deploy/containers does in a container, for machines that cannot run one."""
    file = DOCKER / "Dockerfile.cpu"
    app = tmp_path / "app"
    shutil.copytree(ROOT / "server", app / "server", ignore=shutil.ignore_patterns("__py*"))
    models = tmp_path / "models"
    for model in ("mnist", "mnist_cnn", "mnist_decoder"):
        shutil.copytree(REPOSITORY / model, models / model)
    pairs = dict(each.split("=", 1) for each in instructions(file, "ENV")[-1].split())
    kept = {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ}
    ports = {"HTTP_PORT": "0", "GRPC_PORT": "0", "METRICS_PORT": "0"}
    environment = {
        **kept,
        **pairs,
        **ports,
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "BIND": "127.0.0.1",
        "GUARD": "on",  # as it is where BIND is that of the image
        "MODEL_REPOSITORY": str(models),
    }
    _, *module = json.loads(instructions(file, "ENTRYPOINT")[-1])
    check = json.loads(instructions(file, "HEALTHCHECK")[-1].partition("CMD ")[2])
    # The command given to `during` is the health check, on the port that was chosen.
    ask = check[2].replace("'http://127.0.0.1:8000", "'http://' + o.environ['TRITON_HTTP_URL'] + '")
    assert ask != check[2]
    command = [sys.executable, *module, "during", "--", check[0], "-c", f"import os as o; {ask}"]
    done = subprocess.run(
        command, cwd=app, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_compose_names_only_files_that_are_there() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert "build" in service or re.search(r":[v\d][\w.-]*\d", service["image"]), name
        assert service["cap_drop"] == ["ALL"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and ".run" not in source:
                assert (DOCKER / source).exists(), source


def test_the_load_balancer_of_compose_has_a_valid_configuration(tmp_path: Path) -> None:
    config = prepare.make(tmp_path / "private")
    folder = config.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # As inside the container, but for the places.
    text = config.read_text().replace(str(prepare.INSIDE), str(folder))
    config.write_text(text)
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    done = subprocess.run(
        [str(program), "-c", "-f", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "server r2 r2:8001 proto h2" in text
    # No address of one engine's resolver.
    assert "parse-resolv-conf" in text
    assert "nameserver" not in text
