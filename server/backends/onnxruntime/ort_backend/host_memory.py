"""Page-locked memory, from which a GPU copies without the processor's help."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Allocate = Callable[[int], Bytes]
"""Gives memory of so many bytes, which stays allocated as long as the array is used."""

_RUNTIME = "libcudart.so.13"
_PORTABLE = 1  # cudaHostAllocPortable: page-locked for every context of the process
_MIN_BYTES = 1 << 16


def pageable(size: int) -> Bytes:
    """Ordinary memory."""
    return np.empty(size, dtype=np.uint8)


class PinnedMemory:
    """Allocates page-locked memory through the CUDA runtime that ONNX Runtime has loaded.

    It is never given back: an instance keeps its few buffers until its process ends.

    Args:
        device: The number of the GPU whose context is used.
        runtime: The library; None takes the one that is loaded.

    Raises:
        OSError: There is no such library.
        MemoryError: The driver gives no such memory.
    """

    def __init__(self, device: int, runtime: Any = None) -> None:
        self._device = device
        self._runtime = ctypes.CDLL(_RUNTIME) if runtime is None else runtime
        self(_MIN_BYTES)

    def __call__(self, size: int) -> Bytes:
        """Allocates so many bytes."""
        address = ctypes.c_void_p()
        code = self._runtime.cudaSetDevice(ctypes.c_int(self._device)) or (
            self._runtime.cudaHostAlloc(
                ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(_PORTABLE)
            )
        )
        if code or not address.value:
            raise MemoryError(f"cudaHostAlloc of {size} bytes gave error {code}")
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address.value))


class Staging:
    """One buffer an input, which grows with the batches and is written again for each."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._buffers: dict[str, Bytes] = {}

    def copy(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy of an array in this memory, valid until the next one of that name."""
        size = array.nbytes
        if size == 0:
            return array
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            # Twice as much, since page-locked memory is slow to get and is not given back.
            buffer = self._buffers[name] = self._allocate(max(_MIN_BYTES, 2 * size))
        staged: npt.NDArray[Any] = buffer[:size].view(array.dtype).reshape(array.shape)
        np.copyto(staged, array)
        return staged
