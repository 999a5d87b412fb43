"""What ONNX Runtime would compute on the processor in silence is seen, and refused on a GPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from server.backends.onnxruntime.ort_backend.accelerators import CPU, CUDA
from server.backends.onnxruntime.ort_backend.config import BackendConfig
from server.backends.onnxruntime.ort_backend.diagnosis import why_cuda_is_missing
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.placement import Placement, check_gpu_placement
from server.backends.onnxruntime.ort_backend.session import Device, open_session
from tests.server.small_models import MEAN_AND_DOUBLE

ANY = BackendConfig(inputs=(), outputs=(), max_batch_size=8)


def test_the_session_says_which_provider_computes_what(tmp_path: Path) -> None:
    MEAN_AND_DOUBLE.write(tmp_path / "model.onnx")
    placement = Placement.of(open_session(tmp_path / "model.onnx", ANY, Device("CPU")))
    assert placement.providers == (CPU,)
    if hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        assert placement.kinds == {CPU: {"ReduceMean": 1, "Add": 1}}
        assert placement.nodes == {CPU: 2}


def test_texts_and_shapes_may_stay_on_the_processor() -> None:
    kinds = {CUDA: {"MatMul": 12, "Softmax": 1}, CPU: {"Gather": 3, "Shape": 5, "Concat": 2}}
    check_gpu_placement(Placement((CUDA, CPU), kinds), 0)
    check_gpu_placement(Placement((CUDA, CPU)), 0)  # of an old ONNX Runtime


@pytest.mark.parametrize("kind", ["MatMul", "Conv", "GRU", "MatMulIntegerToFloat", "Gemm"])
def test_a_network_that_would_compute_on_the_processor_is_refused(kind: str) -> None:
    placement = Placement((CUDA, CPU), {CUDA: {"MatMul": 30}, CPU: {kind: 24, "Shape": 1}})
    with pytest.raises(ConfigError, match=f"GPU 1, .* compute 24 {kind} on the processor"):
        check_gpu_placement(placement, 1)


def test_a_gpu_instance_without_cuda_is_refused_and_not_served_by_the_processor(
    tmp_path: Path,
) -> None:
    MEAN_AND_DOUBLE.write(tmp_path / "model.onnx")
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=r"^instance_group asks for GPU 0, "):
        open_session(tmp_path / "model.onnx", ANY, Device("GPU", 0))


def test_the_loader_says_why_the_cuda_provider_is_missing(tmp_path: Path) -> None:
    assert why_cuda_is_missing(tmp_path).endswith("has no libonnxruntime_providers_cuda.so")
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"\x7fELF")
    package = Path(onnxruntime.__file__).parent
    for library in (package / "capi").glob("libonnxruntime_providers_shared.so"):
        (tmp_path / "capi" / library.name).symlink_to(library)
    assert "file too short" in why_cuda_is_missing(tmp_path)
