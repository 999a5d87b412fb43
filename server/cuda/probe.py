"""Loads the driver and the libraries in a process of its own, as a model's process will.

Run with the names of libraries as arguments, it prints what became of it as JSON: whatever is
broken there breaks this process, and not the server.
"""

import contextlib
import ctypes
import json
import sys
from typing import Any

DRIVER = "libcuda.so.1"
_CUDNN = "libcudnn.so.9"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


def report(names: list[str]) -> dict[str, Any]:
    """What the driver and each library say.

    Returns:
        `driver`, the CUDA version that the driver supports, as 1000 times the major plus 10 times
        the minor version; `gpus`, their names; `capabilities`, the compute capability of each, 10
        times the major plus the minor version; `cudnn`, the CUDA version that cuDNN is made for;
        `refused`, why the driver finds no GPU; `failed`, why a library does not load, by its name.
    """
    found: dict[str, Any] = {"driver": 0, "gpus": [], "capabilities": [], "cudnn": 0}
    found |= {"refused": "", "failed": {}}
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        found["failed"][DRIVER] = str(error)
    else:
        found.update(_ask(driver))
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            found["failed"][name] = str(error)
            continue
        if name == _CUDNN:
            with contextlib.suppress(AttributeError):
                library.cudnnGetCudartVersion.restype = ctypes.c_size_t
                found["cudnn"] = int(library.cudnnGetCudartVersion())
    return found


def _ask(driver: Any) -> dict[str, Any]:
    # CUDA's driver API; each function returns 0 or the number of an error.
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return {"driver": version.value, "refused": _error(driver, code)}
    names, capabilities = [], []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode(errors="replace"))
        capabilities.append(10 * _attribute(driver, _MAJOR, device))
        capabilities[-1] += _attribute(driver, _MINOR, device)
    return {"driver": version.value, "gpus": names, "capabilities": capabilities}


def _attribute(driver: Any, attribute: int, device: Any) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value


def _error(driver: Any, code: int) -> str:
    said = []
    for function in (driver.cuGetErrorName, driver.cuGetErrorString):
        text = ctypes.c_char_p()
        if function(code, ctypes.byref(text)) == 0 and text.value:
            said.append(text.value.decode(errors="replace"))
    return ": ".join(said) or f"error {code}"


if __name__ == "__main__":
    print(json.dumps(report(sys.argv[1:])))
