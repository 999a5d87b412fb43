"""A checkout and wheels so small that a bundle of them is made and installed in a second."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from deploy.bundle.make import ROOT, Made, make
from deploy.bundle.settings import BundleSettings

PYTHON = "{}.{}".format(*sys.version_info)
MODELS = ("mnist", "mnist_cnn", "mnist_decoder", "mnist_explain")
_PROJECT = """\
[project]
version = "1.2.3"

[dependency-groups]
serve = ["onnxruntime", "old ; python_version < '3.10'"]
client = ["asks[fast]"]
gpu-check = ["kit"]
"""
_CONSTRAINTS = """\
onnxruntime==1.0 ; python_version >= "3.9"
onnxruntime==0.9 ; python_version < "3.9"
asks==2.0
speed==3.0
kit==4.0
"""
_NEEDS = {"asks": ["speed ; extra == 'fast'", "slow ; extra == 'slow'"]}
_MODULES = {
    "onnxruntime": "__version__ = '1.0'\ndef get_available_providers(): return ['CPU']\n",
}
# The installer asks these whether the machine can serve; the server itself comes in the long test.
_SERVER = {
    "__init__.py": "",
    "__main__.py": "import os, sys, onnxruntime\nprint(sys.argv[1:], os.environ['DEVICE'])\n",
    "installation.py": "def find_installation(folder): return folder\n",
    "run_folder.py": "class RunFolder:\n  def __init__(self, _): pass\n  def close(self): pass\n",
    "errors.py": "class ServerError(Exception): pass\n",
    "cuda/libraries.py": "find_libraries = places = None\n",
    "staging.py": "def server_environment(*_): pass\n",
}


def make_checkout(folder: Path) -> Path:
    """A git checkout: the real installer, real models, a server that says how it was called."""
    shutil.copytree(ROOT / "deploy" / "bundle", folder / "deploy" / "bundle")
    shutil.copy(ROOT / "deploy" / "__init__.py", folder / "deploy")
    for model in MODELS:
        source = ROOT / "model_repository" / model
        shutil.copytree(source, folder / "model_repository" / model)
    (folder / "server" / "cuda").mkdir(parents=True)
    for name, content in _SERVER.items():
        (folder / "server" / name).write_text(content)
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "constraints.txt").write_text(_CONSTRAINTS)
    (folder / "loose.txt").write_text("git knows nothing of this\n")
    (folder / ".gitignore").write_text("loose.txt\n__pycache__\nmodel_repository/*/1/\n")
    for command in ("init -q", "add ."):
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)
    return folder


def make_small(checkout: Path, dist: Path, **settings: str) -> Made:
    """A bundle of the checkout for the running Python."""
    values = {"BUNDLE_PYTHON": PYTHON, "SPLIT": "64K", "DIST": str(dist)}
    values |= {name.upper(): value for name, value in settings.items()}
    chosen = BundleSettings.from_environment(values)
    return make(chosen, lambda _: None, checkout, write_wheels)


def write_wheels(requirements: list[str], into: Path) -> None:
    """Writes a wheel for each `name==version`, the installed pip among them."""
    for requirement in requirements:
        name, version = requirement.split("==")
        if name == "pip":
            _write_installed(name, version, into)
        else:
            _write_small(name, version, into)


def _write_small(name: str, version: str, into: Path) -> None:
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in _NEEDS.get(name, ()))
    files = {
        f"{name}/__init__.py": _MODULES.get(name, ""),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(into / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, content in files.items():
            wheel.writestr(zipfile.ZipInfo(file), content)  # without the time


def _write_installed(name: str, version: str, into: Path) -> None:
    """The wheel that an installed package of pure Python came from."""
    files = importlib.metadata.files(name) or []
    with zipfile.ZipFile(into / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file in files:
            if file.parts[0] != ".." and file.suffix != ".pyc":
                wheel.write(Path(str(file.locate())), str(file))
