"""What a builder is given, and the tables of a description that it comes from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import Self

from build.errors import BuildError

Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """Base of every table of a `model.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, values: Mapping[str, Any], file: Path, *keys: str) -> Self:
        """Validates a table that stands in a file under these keys.

        Raises:
            BuildError: It names file, key, value and what is allowed.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            # A key that is misspelled rather than what is missing for it.
            first = max(error.errors(), key=lambda each: each["type"] == "extra_forbidden")
        where = ".".join(map(str, [*keys, *first["loc"]]))
        raise BuildError(f"{file}: {where} {cls._in_words(first)}")

    @classmethod
    def _in_words(cls, problem: ErrorDetails) -> str:
        if problem["type"] == "missing":
            return "is missing"
        if problem["type"] == "extra_forbidden":
            return f"is not known: it has to be one of {', '.join(cls._keys(problem['loc'][:-1]))}"
        allowed = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        return f"is {problem['input']!r}: it has to be {allowed}"

    @classmethod
    def _keys(cls, table: tuple[int | str, ...]) -> list[str]:
        """The keys that the table at a place within this one may have."""
        for place, key in enumerate(table):
            if key in cls.model_fields:
                annotation = cls.model_fields[str(key)].annotation
                for kind in get_args(annotation) or (annotation,):
                    if isinstance(kind, type) and issubclass(kind, Table):
                        return kind._keys(table[place + 1 :])
        return [name for name, field in cls.model_fields.items() if not field.exclude]


class VariantGates(Table):
    """What a variant of another precision must reach, against the FP32 model."""

    accuracy_loss: Share  # the most of the test accuracy that it may lose
    same_labels: Share  # least part of the test examples that keep their label


class Gates(Table):
    """What an exported model must reach before it is published."""

    accuracy: Share = 0.0  # least part of the test examples with the right label
    difference: PositiveFloat = 1e-4  # the largest of a probability from PyTorch, absolute
    batch_sizes: tuple[PositiveInt, ...] = (1, 2, 7, 32)  # at which both are compared
    variants: Mapping[str, VariantGates] = {}  # the other precisions that are made


T = TypeVar("T", bound=Table)


class Recipe(Table):
    """What a builder is given."""

    file: Path = Path("model.toml")  # the description that it comes from
    training: Mapping[str, Any] = {}  # each builder knows its own keys
    gates: Gates = Gates()
    checkpoint: str = ""  # to start from, as in `BERT=`; empty for the packaged one
    labels: tuple[str, ...] = ()  # the lines of the model's label file, if it has one
    served: tuple[str, ...] = ()  # the files that the model's configs serve

    def settings(self) -> str:
        """What of it tells one version from another, whatever the order it is written in."""
        chosen = self.model_dump(mode="json", include={"training", "gates", "labels"})
        return json.dumps(chosen, sort_keys=True)

    def training_as(self, kind: type[T]) -> T:
        """The training settings, validated by the builder's own table.

        Raises:
            BuildError: They are not what the builder takes.
        """
        return kind.of(self.training, self.file, "build", "training")
