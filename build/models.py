"""Builds and publishes the models of a repository, in the order of what needs what."""

import importlib
import shutil
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from build import catalogue, fingerprint, manifest, publish
from build.catalogue import BUILDERS, Catalogue, Model
from build.data import checkpoints
from build.errors import BuildError
from build.manifest import Manifest
from build.publish import VERSION
from build.settings import Settings

OTHER_RUNTIMES = "other_onnx_runtimes"
"""The manifest's name for what differs with other versions of ONNX Runtime, by file."""

Built = tuple[Manifest, bool]
"""The manifest of the published version, and whether this build made it."""


def ensure_all(settings: Settings) -> list[Built]:
    """Publishes every model of the repository that is not up to date.

    Raises:
        BuildError: A description is not valid, or a model cannot be built.
    """
    models = catalogue.read(settings.repository)
    return [ensure(model, settings) for model in in_order(models)]


def in_order(models: Catalogue) -> list[Model]:
    """The models, each after those whose files it needs or that it consists of.

    Raises:
        BuildError: Some need each other.
    """
    needs = {name: [*model.build.needs, *model.steps] for name, model in models.items()}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise BuildError(f"models need each other: {', '.join(error.args[1])}") from None
    return [models[name] for name in order if name in models]


def ensure(model: Model, settings: Settings) -> Built:
    """Publishes a version of a model unless the one that is there is up to date.

    Raises:
        BuildError: It cannot be built, or falls short of its gates.
    """
    return _network(model, settings) if model.build.builder else _copied(model)


def made_from(model: Model) -> dict[str, str]:
    """The fingerprint of what a builder makes, its checkpoint left out."""
    recipe = model.recipe()
    return {
        "sources": fingerprint.of_program(BUILDERS[model.build.builder]),
        "settings": fingerprint.of_text(recipe.settings()),
        "served": " ".join(recipe.served),
    }


def _network(model: Model, settings: Settings) -> Built:
    """Trains if needed, exports, checks and publishes what a builder makes."""
    recipe, digests = model.recipe(), made_from(model)
    version, others = model.folder / VERSION, settings.other_runtimes
    compared = {manifest.COMPARED_WITH: " ".join(others)} if others else {}
    facts: dict[str, object] = {}
    if model.build.checkpoint == catalogue.CHOSEN:
        checkpoint = settings.bert
        published = manifest.read(version)
        if settings.keep_checkpoint and published:
            checkpoint = str(published.facts["requested"])
            current = published.is_made_from(**digests, **compared)
            if current and published.is_intact(version):
                return published, False
        recipe = model.recipe(checkpoint)
        facts = {"requested": checkpoint}
    if model.build.checkpoint is not None:
        found = checkpoints.find(recipe.checkpoint)
        digests["checkpoint"] = fingerprint.of_text(found.digest())

    def make(into: Path) -> dict[str, object]:
        published = manifest.read(version)
        if published and publish.is_current(published, version, digests):
            # Nothing is to be built: it is compared, and published again with what was found.
            shutil.copytree(version, into, dirs_exist_ok=True)
            (into / manifest.FILENAME).unlink()
            made = {**published.facts, **facts}
        else:
            builder = importlib.import_module(BUILDERS[model.build.builder])
            made = {**facts, **builder.build(recipe, into)}
        return _compared(model, into, others, made) if others else made

    return publish.ensure(model.folder, {**digests, **compared}, make)


def _compared(
    model: Model, folder: Path, versions: list[str], facts: dict[str, object]
) -> dict[str, object]:
    """Adds to what the manifest says how far the files' answers are with other ONNX Runtimes."""
    from build import runtime_check  # and with it PyTorch, which takes seconds

    only_gpus = manifest.gpu_variants(facts)
    found = runtime_check.compare(model, folder, versions, only_gpus=only_gpus)
    variants = facts.get("variants")
    if isinstance(variants, dict):
        gone = {file: why for file, why in found.items() if not (folder / file).exists()}
        left_out = {runtime_check.variant_of(file): why for file, why in gone.items()}
        facts = {**facts, "variants": {**variants, **left_out}}
    return {**facts, OTHER_RUNTIMES: found}


def _copied(model: Model) -> Built:
    """Publishes what is copied: the files of a Python model, and nothing for an ensemble."""
    # Triton wants a version folder of an ensemble, too.
    beside = [model.folder / name for name in model.build.sources]
    repository = model.folder.parent
    others = [
        repository / other / VERSION / name
        for other, names in model.build.needs.items()
        for name in names
    ]
    for file in (files := [*beside, *others]):
        if not file.is_file():
            raise BuildError(f"{model.name}: {file} is missing")

    def make(into: Path) -> dict[str, object]:
        for file in files:
            shutil.copyfile(file, into / file.name)
        return {}

    return publish.ensure(model.folder, {"files": fingerprint.of_files(files)}, make)
