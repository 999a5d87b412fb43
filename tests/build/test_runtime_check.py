"""The files of a version are compared as other versions of ONNX Runtime compute them."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from build import catalogue, manifest, models, runtime_check
from build.catalogue import REPOSITORY, Model
from build.errors import BuildError
from build.publish import VERSION
from build.runtimes import Runtime
from build.settings import Settings
from build.test_sets import TEST_SETS, HeldOut, of_digits

OTHER = "1.19.2"
SHIFTED_PYTHON = """#!{python}
import subprocess, sys
import numpy as np
subprocess.run([sys.executable, *sys.argv[1:]], check=True)
with np.load(sys.argv[-1]) as found:
    answers = dict(found)
answers["probabilities"] += np.float32({off})
np.savez(sys.argv[-1], **answers)
"""
"""A Python whose ONNX Runtime answers a little beside."""


@pytest.fixture
def cnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A copy of the CNN with its version, up to date, which is asked 200 digits."""
    everything = of_digits(catalogue.read()["mnist_cnn"].recipe(), tmp_path)
    few = HeldOut(everything.samples[:2], everything.truth[:200])
    monkeypatch.setitem(TEST_SETS, "cnn", lambda *_: few)
    shutil.copytree(REPOSITORY / "mnist_cnn", tmp_path / "mnist_cnn")
    model = catalogue.read(tmp_path)["mnist_cnn"]
    published = manifest.read(model.folder / VERSION)
    assert published
    current = replace(published, fingerprint=models.made_from(model))
    manifest.write(current, model.folder / VERSION)
    return model


def stands_in(monkeypatch: pytest.MonkeyPatch, folder: Path, off: float) -> None:
    """Has the other version be the installed one, with answers that are off."""
    python = folder / "python"
    python.write_text(SHIFTED_PYTHON.format(python=sys.executable, off=off))
    python.chmod(0o755)
    monkeypatch.setattr(Runtime, "of", lambda version: Runtime(version, python))


def test_another_process_answers_as_this_one(cnn: Model) -> None:
    path = cnn.folder / VERSION / "model.onnx"
    samples = TEST_SETS["cnn"](cnn.recipe(), path.parent).samples
    answers = Runtime.installed().answers(path, samples)
    session = onnxruntime.InferenceSession(path)
    found = [session.run(["label", "probabilities"], sample) for sample in samples]
    assert answers.labels == [str(each) for labels, _ in found for each in labels.reshape(-1)]
    np.testing.assert_allclose(answers.probabilities, np.concatenate([p for _, p in found]), 1e-5)


def test_a_version_is_compared_once_and_not_built_again(
    cnn: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in(monkeypatch, tmp_path, 5e-5)
    monkeypatch.setattr("build.cnn.build", lambda *_: pytest.fail("it was built again"))
    plain, asked = Settings(), Settings(ort_versions=OTHER)
    made, is_new = models.ensure(cnn, asked)
    assert is_new
    found = made.facts[models.OTHER_RUNTIMES]
    assert found == {
        "model.onnx": {
            OTHER: {"largest_difference": pytest.approx(5e-5, rel=0.1), "same_labels": 1.0}
        }
    }
    for settings in (asked, plain):  # also who asks for less
        assert models.ensure(cnn, settings) == (made, False)


def test_what_differs_too_much_is_not_published(
    cnn: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in(monkeypatch, tmp_path, 2e-4)
    before = models.ensure(cnn, Settings())
    with pytest.raises(
        BuildError,
        match=rf"mnist_cnn, model\.onnx, with ONNX Runtime {OTHER}: "
        r"a probability differs by 2\.0e-04 .* allowed is 1e-04; not published",
    ):
        models.ensure(cnn, Settings(ort_versions=OTHER))
    assert models.ensure(cnn, Settings()) == before


def test_a_file_that_no_config_serves_is_left_out(
    cnn: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in(monkeypatch, tmp_path, 9e-5)
    version = cnn.folder / VERSION
    shutil.copyfile(version / "model.onnx", version / "model.fp16.onnx")
    strict = {**catalogue.TOLERANCES, "fp16": catalogue.Tolerance(probability=1e-6, attribution=1)}
    monkeypatch.setattr(runtime_check, "TOLERANCES", strict)
    found = runtime_check.compare(cnn, version, [OTHER])
    assert "a probability differs by 9.0e-05" in str(found["model.fp16.onnx"])
    assert not (version / "model.fp16.onnx").exists()
    assert isinstance(found["model.onnx"], dict)


def test_what_does_not_run_there_is_told(cnn: Model, tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(
        BuildError, match=r"with ONNX Runtime [\d.]+: .*(INVALID_PROTOBUF|Protobuf)"
    ):
        Runtime.installed().answers(broken, TEST_SETS["cnn"](cnn.recipe(), tmp_path).samples)


def test_a_file_that_does_not_compute_here_is_not_taken_for_one_of_gpus(
    cnn: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in(monkeypatch, tmp_path, 0.0)
    version = cnn.folder / VERSION
    (version / "model.int8.onnx").write_bytes(b"not a model")
    with pytest.raises(BuildError, match=r"model\.int8\.onnx with ONNX Runtime"):
        runtime_check.compare(cnn, version, [OTHER])
    found = runtime_check.compare(cnn, version, [OTHER], only_gpus=["model.int8.onnx"])
    assert found["model.int8.onnx"] == runtime_check.ONLY_GPUS


@pytest.mark.long
def test_the_served_bert_holds_with_the_runtime_of_the_packaged_release(tmp_path: Path) -> None:
    model = catalogue.read()["sentiment_bert"]
    version = Path(shutil.copytree(model.folder / VERSION, tmp_path / "sentiment_bert" / VERSION))
    published = manifest.read(version)
    assert published
    found = runtime_check.compare(
        model, version, [OTHER], only_gpus=manifest.gpu_variants(published.facts)
    )
    served, plain = found["model.int8.onnx"], found["model.onnx"]
    assert isinstance(served, dict)
    assert isinstance(plain, dict)
    # Other kernels: in FP32 a rounding, in int8 a step.
    assert 0 < plain[OTHER]["largest_difference"] < 1e-4 < served[OTHER]["largest_difference"] < 0.1
    assert found["model.fp16.packed.onnx"] == runtime_check.ONLY_GPUS


@pytest.mark.long
def test_a_version_without_a_wheel_is_refused_in_words() -> None:
    with pytest.raises(BuildError, match=r"ONNX Runtime 0\.0\.1 has no wheel for any Python on"):
        Runtime.of("0.0.1")
