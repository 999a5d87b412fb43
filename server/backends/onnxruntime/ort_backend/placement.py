"""Where ONNX Runtime computes the nodes of a graph, which it decides when it opens the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .accelerators import CPU
from .errors import ConfigError

RECORD = "session.record_ep_graph_assignment_info"
"""The session config entry without which ONNX Runtime does not say it."""
_HEAVY = frozenset(
    (
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
        "PackedAttention",
        "PackedMultiHeadAttention",
        "QAttention",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    )
)
"""The operators that a network spends its time in.

Others are left on the processor by design: texts, and the arithmetic of shapes.
"""


@dataclass(frozen=True)
class Placement:
    """Which execution provider computes which nodes.

    Attributes:
        providers: The providers of the session, the preferred one first.
        kinds: The operators of each provider's nodes, counted; empty where ONNX Runtime is too
            old to say it.
    """

    providers: tuple[str, ...]
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Any) -> Placement:
        """The placement in an InferenceSession that was opened with `RECORD`."""
        providers = tuple(session.get_providers())
        if not hasattr(session, "get_provider_graph_assignment_info"):  # before 1.24
            return cls(providers)
        kinds: dict[str, Counter[str]] = {}
        for part in session.get_provider_graph_assignment_info():
            counted = kinds.setdefault(part.ep_name, Counter())
            counted.update(node.op_type for node in part.get_nodes())
        return cls(providers, kinds)

    @property
    def nodes(self) -> dict[str, int]:
        """How many nodes each provider computes."""
        return {name: sum(kinds.values()) for name, kinds in self.kinds.items()}


def left_to_the_processor(placement: Placement) -> str:
    """The operators that take time and that the processor would compute beside a GPU.

    ONNX Runtime leaves them there, without a word, where its CUDA provider has no kernel for them.

    Returns:
        Their names with their numbers, such as `12 MatMul`; empty where there are none.
    """
    slow = {kind: count for kind, count in placement.kinds.get(CPU, {}).items() if kind in _HEAVY}
    return ", ".join(f"{count} {kind}" for kind, count in sorted(slow.items()))


def check_gpu_placement(placement: Placement, device: int) -> None:
    """Checks that what takes time is computed on the GPU.

    Raises:
        ConfigError: Names the operators that are not.
    """
    if slow := left_to_the_processor(placement):
        raise ConfigError(
            f"instance_group asks for GPU {device}, and ONNX Runtime would compute {slow} on the "
            "processor, for which its CUDA provider has no kernel: name a file for GPUs in "
            "default_model_filename, or serve the CPU config"
        )
