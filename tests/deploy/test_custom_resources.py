"""The chart's objects of other projects' kinds are ones by the types of those projects."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.deploy import programs
from tests.deploy.programs import kubernetes_program
from tests.deploy.test_helm import VARIANTS, Object, one, render
from tests.deploy.typescript import Typed, TypeScript

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")

_GATEWAY = "gateway-api/gateway.networking.k8s.io/v1"
MODULES = {
    "Gateway": _GATEWAY,
    "HTTPRoute": _GATEWAY,
    "GRPCRoute": _GATEWAY,
    "ScaledObject": "keda/keda.sh/v1alpha1",
    "ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1",
}
"""Each kind's module below @kubernetes-models; KServe's is checked against its SDK."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """One of each kind, by it."""
    helm = kubernetes_program("helm", tmp_path_factory.mktemp("helm"))
    rendered = render(helm, "cpu", f"{VARIANTS['gateway']},{VARIANTS['keda']}")
    return {kind: one(rendered, kind) for kind in MODULES}


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> TypeScript:
    packages = (
        programs.GATEWAY_API_MODELS,
        programs.KEDA_MODELS,
        programs.PROMETHEUS_OPERATOR_MODELS,
        programs.MODELS_BASE,
        programs.APIMACHINERY_MODELS,
    )
    return TypeScript(tmp_path_factory.mktemp("node"), packages)


def typed(kind: str, text: str) -> Typed:
    """An object with the type of its kind."""
    return Typed(text, f"I{kind}", f"@kubernetes-models/{MODULES[kind]}/{kind}")


def test_they_are_of_their_types(objects: dict[str, Object], typescript: TypeScript) -> None:
    checked = [typed(kind, json.dumps(found)) for kind, found in objects.items()]
    assert typescript.check(*checked) == [""] * len(MODULES)


def test_a_wrong_field_or_value_is_found(
    objects: dict[str, Object], typescript: TypeScript
) -> None:
    wrong = {
        "Gateway": ('"port": 443', '"prot": 443'),
        "HTTPRoute": ('"PathPrefix"', '"Prefix"'),
        "GRPCRoute": ('"method"', '"methd"'),
        "ScaledObject": ('"minReplicaCount"', '"minReplicas"'),
        "ServiceMonitor": ('"interval"', '"intervall"'),
    }
    texts = {kind: json.dumps(found) for kind, found in objects.items()}
    said = typescript.check(*(typed(kind, texts[kind].replace(*wrong[kind])) for kind in MODULES))
    for kind, line in zip(MODULES, said, strict=True):
        assert wrong[kind][1].split(":")[0] in line
