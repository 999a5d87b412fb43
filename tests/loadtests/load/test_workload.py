"""How a model is asked follows from its description."""

from pathlib import Path

import pytest

from build import catalogue
from build.errors import BuildError
from loadtests.load.workload import workloads

DESCRIPTION = """
description = "Some model."
[ask]
samples = "digits.png"
network = "some_model"
outputs = { label = "LABEL", probabilities = "PROBABILITIES" }
tolerances.int8 = { probability = 0.7, attribution = 0.8 }
"""


def write(repository: Path, description: str) -> Path:
    (repository / "some_model").mkdir()
    (repository / "some_model/model.toml").write_text(description)
    return repository


def test_all_models_that_callers_ask_can_be_asked() -> None:
    assert set(workloads()) == {name for name, model in catalogue.read().items() if model.ask}


def test_a_model_is_asked_as_it_is_described(tmp_path: Path) -> None:
    workload = workloads(write(tmp_path, DESCRIPTION))["some_model"]
    assert workload.network == "some_model"
    assert workload.outputs.names == ("LABEL", "PROBABILITIES")
    assert workload.tolerances["int8"].probability == 0.7
    assert workload.tolerances["fp16"] == catalogue.TOLERANCES["fp16"]
    assert workload.explain is None
    assert not workload.fits_json
    sample = workload.draw(1, 0, tmp_path)[0]
    assert sample.sent["IMAGE"].item().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("digits.png", "digits.gif", r"ask\.samples is 'digits\.gif': .*digits\.pixels, digits"),
        ("[ask]", '[ask]\nexplain = "words"', r"ask\.explain is 'words': .*digits, texts"),
    ],
)
def test_what_nobody_knows_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        workloads(write(tmp_path, DESCRIPTION.replace(old, new)))
