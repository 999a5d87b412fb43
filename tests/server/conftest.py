"""What the tests of the server share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server.settings import Settings
from tests.conformance import own_server

SettingsFor = Callable[[Path], Settings]


@pytest.fixture(scope="session")
def settings_for() -> SettingsFor:
    """Makes the settings that serve a folder of models on free ports."""
    return own_server.settings_for
