"""Imports the Python models as the Python backend does, from their files."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from build import catalogue

ROOT = Path(__file__).resolve().parents[2]


def _load(model: str, filename: str = "model.py") -> ModuleType:
    spec = importlib.util.find_spec("pytriton")
    assert spec
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    backend = str(package / "tritonserver" / "backends" / "python")
    if backend not in sys.path:
        sys.path.append(backend)  # has triton_python_backend_utils
    path = ROOT / "model_repository" / model / filename
    described = catalogue.read(path.parents[1])[model]
    # A version has all its sources in one folder; here some lie beside another model.
    for folder in {(path.parent / source).resolve().parent for source in described.build.sources}:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    # What lies beside a model is a module by its own name.
    name = f"{model}_model" if filename == "model.py" else path.stem
    found = importlib.util.spec_from_file_location(name, path)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def container() -> ModuleType:
    """The module beside `mnist_decoder` that reads image files."""
    return _load("mnist_decoder", "container.py")


@pytest.fixture(scope="session")
def decoder(container: ModuleType) -> ModuleType:  # noqa: ARG001 - it is imported
    """The module of `mnist_decoder`."""
    return _load("mnist_decoder")


@pytest.fixture(scope="session")
def tokenizer(beginning: ModuleType) -> ModuleType:  # noqa: ARG001 - it is imported
    """The module of `sentiment_tokenizer`."""
    return _load("sentiment_tokenizer")


@pytest.fixture(scope="session")
def texts() -> ModuleType:
    """The module that reads texts, shared by the models that take some."""
    return _load("sentiment_tokenizer", "texts.py")


@pytest.fixture(scope="session")
def beginning(texts: ModuleType) -> ModuleType:  # noqa: ARG001 - it is imported
    """The module that tokenizes the beginning of long texts, shared likewise."""
    return _load("sentiment_tokenizer", "beginning.py")


@pytest.fixture(scope="session")
def explanation() -> ModuleType:
    """The module beside `sentiment_explain` that plans explanations of texts."""
    return _load("sentiment_explain", "explanation.py")


@pytest.fixture(scope="session")
def text_explainer(explanation: ModuleType, beginning: ModuleType) -> ModuleType:  # noqa: ARG001
    """The module of `sentiment_explain`."""
    return _load("sentiment_explain")


@pytest.fixture(scope="session")
def digit_explainer() -> ModuleType:
    """The module of `mnist_explain`."""
    return _load("mnist_explain")


@pytest.fixture(scope="session")
def stream_tokenizer() -> ModuleType:
    """The module of `stream_tokenizer`."""
    return _load("stream_tokenizer")
