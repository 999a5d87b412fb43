"""The models of a repository, as their descriptions say: `<model>/model.toml`.

Build, load tests, tuner and cluster read here what a model is made from, how it is asked
and how closely its answers are compared. What Triton's config says, such as the steps of
an ensemble, is taken from the config.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt

from build import model_config
from build.errors import BuildError
from build.recipe import Gates, Recipe, Table
from server.guard.bounds import InputBounds

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILENAME = "model.toml"
REPOSITORY = Path(__file__).resolve().parents[1] / "model_repository"
BUILDERS = {"cnn": "build.cnn", "gru": "build.rnn", "bert": "build.bert"}
"""The modules whose `build` makes the files of a network, by the name in a description."""
PACKAGED, CHOSEN = "packaged", "BERT"
"""The checkpoint that a package brings, and the one that the user's `BERT=` chooses."""

Precision = Literal["fp32", "fp16", "int8"]
T = TypeVar("T")


class Build(Table):
    """`[build]`: what a version is made from."""

    builder: str = ""  # which of `BUILDERS` makes it; empty where files are only copied
    # Where to start from: "packaged", "BERT" for the user's choice, a hub name or a folder.
    checkpoint: str | None = None
    training: Mapping[str, Any] = {}  # the builder validates it
    gates: Gates = Gates()
    sources: tuple[str, ...] = ()  # files beside the description that a version contains
    needs: Mapping[str, tuple[str, ...]] = {}  # files from published versions of other models


class Outputs(Table):
    """`[ask.outputs]`: the names of the outputs that are asked for."""

    label: str  # BYTES [1]
    probabilities: str  # FP32 [classes]
    attributions: str = ""  # FP32, of any shape; empty where nothing is explained
    exact: tuple[str, ...] = ()  # those of an explanation that have to be the same to the byte
    unread: tuple[str, ...] = ()  # those that nobody looks at, asked for because callers do

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        explained = (self.attributions,) if self.attributions else ()
        return (self.label, self.probabilities, *explained, *self.exact, *self.unread)


class Tolerance(Table):
    """How far a model's answer may be from the offline one."""

    probability: PositiveFloat
    attribution: PositiveFloat  # of what a word or pixel adds to the log-odds


TOLERANCES: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(probability=1e-4, attribution=1e-3),
    "fp16": Tolerance(probability=0.02, attribution=0.1),
    "int8": Tolerance(probability=0.1, attribution=0.1),
}
"""By the precision of the model file. FP32 differs by rounding only. FP16 and int8 may be
computed in another order, and in int8 the scale of the activations depends on the texts that
share a batch."""
OTHER_RUNTIME_TOLERANCES: Mapping[Precision, Tolerance] = {
    **TOLERANCES,
    "int8": Tolerance(probability=0.1, attribution=0.3),
}
"""Where a server computes with another version of ONNX Runtime than the answers are compared with:
in int8 a number that is rounded to another step moves all that follow; docs/backend.md."""


def precision_of(file: str) -> Precision:
    """The precision of a model file by its name, as the builders name them."""
    return next((name for name in ("int8", "fp16") if f".{name}." in file), "fp32")


class Ask(Table):
    """`[ask]`: how a model is asked, and how its answers are compared."""

    samples: str  # the real inputs that it gets, such as "digits.png"
    network: str  # the model whose ONNX file gives the expected answers; it may be itself
    explain: str = ""  # how those are explained offline; empty where the model only classifies
    outputs: Outputs
    tolerances: Mapping[Precision, Tolerance] = {}  # others than `TOLERANCES`
    inputs: PositiveInt | None = None  # how many a load test draws, where it differs from others


class Bounds(InputBounds, Table):
    """`[bounds.<input>]`: what the guard lets through to an input, beyond the config."""


class Model(Table):
    """One model of a repository."""

    folder: Path = Field(exclude=True)  # not from the file
    description: str  # what it does, in a sentence
    build: Build = Build()
    ask: Ask | None = None  # None where only other models ask it
    bounds: Mapping[str, Bounds] = {}  # by the input's name; no version depends on them

    @property
    def name(self) -> str:
        """Its name, which is that of its folder."""
        return self.folder.name

    @property
    def file(self) -> Path:
        """Its description."""
        return self.folder / FILENAME

    @property
    def steps(self) -> list[str]:
        """The models that an ensemble consists of, in order."""
        return model_config.steps(model_config.read(self.folder / model_config.PLAIN))

    @property
    def inputs(self) -> dict[str, int]:
        """The names of its inputs, and their data types as Triton numbers them."""
        config = model_config.read(self.folder / model_config.PLAIN)
        return {each.name: each.data_type for each in config.input}

    def recipe(self, chosen: str = "") -> Recipe:
        """What its builder is given; `chosen` is the user's checkpoint, where there is a choice."""
        configs = [model_config.read(path) for path in model_config.paths_of(self.folder)]
        label_files = {output.label_filename for output in configs[0].output} - {""}
        named = {None: "", PACKAGED: "", CHOSEN: chosen}
        return Recipe(
            file=self.file,
            training=self.build.training,
            gates=self.build.gates,
            checkpoint=named.get(self.build.checkpoint, self.build.checkpoint or ""),
            labels=tuple(
                label
                for name in sorted(label_files)
                for label in (self.folder / name).read_text().split()
            ),
            served=tuple(sorted({model_config.served_file(config) for config in configs})),
        )


Catalogue = dict[str, Model]
"""All models that a repository describes, by name."""


def read(repository: Path = REPOSITORY) -> Catalogue:
    """Reads all descriptions of a repository.

    Raises:
        BuildError: One cannot be read, or is not valid.
    """
    models = {
        path.parent.name: _read(path) for path in sorted(repository.glob(f"[!.]*/{FILENAME}"))
    }
    for model in models.values():
        for name in model.build.needs:
            choose(models, name, model, "build.needs")
        if model.ask:
            choose(models, model.ask.network, model, "ask.network")
        if model.build.builder:
            choose(BUILDERS, model.build.builder, model, "build.builder")
        for name in model.bounds:
            choose(model.inputs, name, model, "a table of bounds")
    return models


def choose(registry: Mapping[str, T], name: str, model: Model, key: str) -> T:
    """What a registry holds under the name that the description of a model gives as `key`.

    Raises:
        BuildError: The registry does not hold it.
    """
    if name not in registry:
        allowed = ", ".join(registry)
        raise BuildError(f"{model.file}: {key} is {name!r}: it has to be one of {allowed}")
    return registry[name]


def dependents(models: Catalogue, name: str) -> list[str]:
    """The models whose versions contain files of a model, so that they change with it."""
    return [other for other, model in models.items() if name in model.build.needs]


def front(models: Catalogue, name: str) -> str | None:
    """The model that callers ask for what a model computes: an ensemble of it, or itself."""
    ensembles = (each.name for each in models.values() if each.ask and name in each.steps)
    return next(ensembles, name if models[name].ask else None)


def _read(path: Path) -> Model:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BuildError(f"{path} cannot be read: {error}") from error
    return Model.of({**content, "folder": path.parent}, path)
