"""Checks in a new environment that this machine can run the server; `install.py` calls it.

What is missing but may be put right without another installation is printed, and no error.
"""

import os
import sys
from pathlib import Path

from server.cuda.libraries import find_libraries, places
from server.errors import ServerError
from server.installation import find_installation
from server.run_folder import RunFolder
from server.staging import server_environment


def main(device: str) -> None:
    """Raises SystemExit with a line about what is wrong."""
    import onnxruntime

    if device == "gpu":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise SystemExit(f"onnxruntime {onnxruntime.__version__} was built without CUDA")
        named = os.environ.get("CUDA_LIBRARIES")
        missing = find_libraries(places(Path(named) if named else None, os.environ)).missing
        if missing:
            print(f"not found yet: {', '.join(missing)}; CUDA_LIBRARIES names their folder")
    elsewhere = os.environ.get("TRITON_DIR")
    try:
        installation = find_installation(Path(elsewhere) if elsewhere else None)
        folder = RunFolder("triton_0_00000000_")
        try:
            server_environment(installation, folder, os.environ)
        finally:
            folder.close()
    except ServerError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1])
