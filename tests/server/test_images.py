"""The images hold what the server imports."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_THE_CONTAINER = {"nvidia-pytriton", "onnxruntime", "tomli"}
"""What NVIDIA's container brings itself: Triton, a backend of that name, a Python with TOML."""


def test_gpu_image_installs_what_the_server_needs_and_its_container_lacks() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (group,) = re.findall(r"^serve = \[(.*?)^\]$", text, re.M | re.DOTALL)
    needed = set(re.findall(r'"([\w-]+)', group)) - OF_THE_CONTAINER
    (installed,) = re.findall(
        r"pip install (.*?)&&",
        (ROOT / "deploy" / "docker" / "Dockerfile.gpu").read_text(),
        re.DOTALL,
    )
    words = {word.strip('"').partition("==")[0] for word in installed.split()}
    assert needed <= words
