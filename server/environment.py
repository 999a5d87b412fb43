"""Settings that come from environment variables, checked where they are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import annotated_types
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from typing_extensions import Self

from server.errors import SettingsError


class EnvironmentSettings(BaseSettings):
    """Base of all settings: each field is the environment variable of that name in upper case.

    The constructor takes values from its arguments only; `from_environment` reads the
    variables. A value that is not allowed raises `error`, whose message names the setting,
    the value and what is allowed. The validator of a field raises `ValueError` with the words
    that follow "it has to be", that of the whole model with the whole message. A `SecretStr`
    is never shown.

    Attributes:
        error: The exception to raise for a value that is not allowed.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_ignore_empty=True, validate_default=True
    )
    error: ClassVar[type[Exception]] = SettingsError

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self.error(self._in_words(error.errors()[0])) from None

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, **defaults: Any
    ) -> Self:
        """Reads the settings; a variable that is unset or empty takes its default.

        Args:
            environment: The variables; the process's own when None.
            defaults: Defaults other than the fields' own.
        """
        values = os.environ if environment is None else environment
        source = EnvSettingsSource(cls)
        source.env_vars = {
            name.lower(): value.strip()
            for name, value in values.items()
            if name.isupper() and value.strip()
        }
        return cls(**{**defaults, **source()})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Has the constructor take its arguments and nothing else."""
        return (init_settings,)

    @classmethod
    def _in_words(cls, problem: ErrorDetails) -> str:
        if not problem["loc"]:  # of several settings together, whose validator names them
            return str(problem["ctx"]["error"])
        name = str(problem["loc"][0])
        if name not in cls.model_fields:
            raise TypeError(f"{cls.__name__} has no setting {name!r}")
        allowed = cls._allowed(name, problem)
        if "SecretStr" in str(cls.model_fields[name].annotation):
            return f"{name.upper()} has to be {allowed}"
        return f"{name.upper()} is {_shown(problem['input'])}: it has to be {allowed}"

    @classmethod
    def _allowed(cls, name: str, problem: ErrorDetails) -> str:
        kind, context = problem["type"], problem.get("ctx", {})
        if kind in ("int_parsing", "int_type", "int_from_float"):
            return "a whole number"
        if kind in ("float_parsing", "float_type", "finite_number"):
            return "a number"
        if kind in ("enum", "literal_error"):
            return "one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
        if kind == "value_error":
            return str(context["error"])
        limits = cls._limits(name)
        return limits or problem["msg"]

    @classmethod
    def _limits(cls, name: str) -> str:
        found: dict[str, Any] = {}
        for each in cls.model_fields[name].metadata:
            for limit in ("ge", "gt", "le", "lt"):
                if hasattr(each, limit) and isinstance(each, annotated_types.BaseMetadata):
                    found[limit] = getattr(each, limit)
        if {"ge", "le"} <= found.keys():
            return f"from {found['ge']:.15g} to {found['le']:.15g}"
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return " and ".join(f"{words[limit]} {value:.15g}" for limit, value in found.items())


def _shown(value: object) -> str:
    """Numbers as they are written, everything else in quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    try:
        float(str(value))
    except ValueError:
        return repr(str(value))
    return str(value)
