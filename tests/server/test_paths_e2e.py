"""The server runs wherever its files lie, also where a shell would read the path otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.server.conftest import SettingsFor
from tests.server.small_models import LOOKUP
from tests.server.test_lifecycle_e2e import ROOT

pytestmark = pytest.mark.e2e

NAMES = ["with a space", "Größe-文", 'it\'s $HOME; `date` & "more"', "line\nbreak", "end ", "a:b;c"]


def answers(settings_for: SettingsFor, repository: Path) -> bool:
    """Whether a server of that repository starts and answers rightly."""
    with (
        TritonServer(settings_for(repository)) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        ids = triton.InferInput("ids", [1, 2], "INT64")
        ids.set_data_from_numpy(np.array([[1, 2]], dtype=np.int64))
        values: list[list[float]] = client.infer("lookup", [ids]).as_numpy("values").tolist()
    return values == [[10, 20]]


@pytest.mark.parametrize("name", NAMES)
def test_a_repository_and_a_temporary_folder_may_have_any_path(
    name: str, tmp_path: Path, settings_for: SettingsFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    repository = tmp_path / name / "models"
    LOOKUP.add_to(repository, "lookup")
    assert answers(settings_for, repository)
    assert not list((tmp_path / name).glob("triton-*"))


def test_a_path_may_be_long(tmp_path: Path, settings_for: SettingsFor) -> None:
    repository = tmp_path.joinpath(*["x" * 200] * 15) / "models"
    LOOKUP.add_to(repository, "lookup")
    assert answers(settings_for, repository)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_checkout_and_its_environment_may_have_any_path(tmp_path: Path, locale: str) -> None:
    checkout = tmp_path / "it's a checkout; größer"
    checkout.mkdir()
    (checkout / "server").symlink_to(ROOT / "server")
    (checkout / ".venv").symlink_to(sys.prefix)
    LOOKUP.add_to(checkout / "model_repository", "lookup")
    check = "import os, sys; print(os.environ['TRITON_HTTP_URL']); print(sys.prefix)"
    python = str(checkout / ".venv" / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "server", "during", "--", python, "-c", check],
        cwd=checkout,
        env={
            "PATH": os.environ["PATH"],
            "LC_ALL": locale,
            "CONFIG": "config.pbtxt",
            "TMPDIR": str(checkout),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == str(checkout / ".venv")
