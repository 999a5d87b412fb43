"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.settings import PLAIN_CONFIG, Settings

SettingsFor = Callable[[Path], Settings]


@pytest.fixture(scope="session")
def settings_for() -> SettingsFor:
    """Makes the settings that serve a folder of models on free ports."""

    def make(repository: Path) -> Settings:
        return Settings(
            http_port=0,
            grpc_port=0,
            metrics_port=0,
            config=PLAIN_CONFIG,
            model_repository=repository,
            exit_timeout=15,
        )

    return make
