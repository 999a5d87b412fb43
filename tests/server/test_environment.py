"""Settings from the environment: read, checked, and refused in words."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator
from typing_extensions import Self

from server.environment import EnvironmentSettings
from server.errors import SettingsError


class Protocol(str, Enum):
    """One of two."""

    HTTP = "http"
    GRPC = "grpc"


class Some(EnvironmentSettings):
    """A setting of each kind."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    rate: Annotated[float, Field(gt=0)] = 1.5
    protocol: Protocol = Protocol.HTTP
    control: Literal["none", "explicit"] = "none"
    token: SecretStr = SecretStr("")
    folder: Path | None = None

    @field_validator("token")
    @classmethod
    def _is_long(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < 16:
            raise ValueError("at least 16 letters")
        return token

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.port == 7 and self.rate > 1:
            raise ValueError("PORT is 7: it has to be another one where RATE is above 1")
        return self


def test_variables_are_read_and_others_left_alone() -> None:
    found = Some.from_environment(
        {
            "PORT": " 9 ",
            "PROTOCOL": "grpc",
            "FOLDER": "/x",
            "RATE": "",
            "OTHER": "y",
            "control": "explicit",
        },
        port=1,
    )
    assert (found.port, found.rate, found.protocol) == (9, 1.5, Protocol.GRPC)
    assert (found.folder, found.control) == (Path("/x"), "none")


def test_the_constructor_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9")
    assert Some().port == 8000
    assert Some.from_environment().port == 9


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "x", "PORT is 'x': it has to be a whole number"),
        ("PORT", "9.5", "PORT is 9.5: it has to be a whole number"),
        ("PORT", "70000", "PORT is 70000: it has to be from 0 to 65535"),
        ("RATE", "0", "RATE is 0: it has to be above 0"),
        ("PROTOCOL", "ftp", "PROTOCOL is 'ftp': it has to be one of http, grpc"),
        ("CONTROL", "poll", "CONTROL is 'poll': it has to be one of none, explicit"),
        ("TOKEN", "abc", "TOKEN has to be at least 16 letters"),
        ("PORT", "7", "PORT is 7: it has to be another one where RATE is above 1"),
    ],
)
def test_an_error_names_setting_value_and_what_is_allowed(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        Some.from_environment({name: value})
    assert str(refused.value) == message


def test_a_setting_that_does_not_exist_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="has no setting 'prot'"):
        Some(prot=1)  # type: ignore[call-arg]
