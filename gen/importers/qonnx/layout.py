"""Maps are channels first in the file and channels last on edges, always of two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import UnsupportedError

if TYPE_CHECKING:
    from bittern.gen.importers.onnx_file import Array

__all__ = ["is_map", "map_of", "maps_of", "per_channel", "tensor_of", "tensors_of"]


def is_map(shape: tuple[int, ...]) -> bool:
    """Return whether a tensor can be a map: ``(1, channels, columns)`` or with rows as well."""
    return len(shape) in (3, 4) and shape[0] == 1


def maps_of(tensors: Array) -> Array:
    """Return tensors ``(frames, 1, channels, [rows,] columns)`` with their channels last."""
    maps = np.moveaxis(tensors[:, 0], 1, -1)
    return maps if maps.ndim == 4 else maps[:, np.newaxis]


def tensors_of(maps: Array, rank: int) -> Array:
    """Return the inverse of `maps_of`, for tensors of 3 or 4 dimensions."""
    return np.moveaxis(maps if rank == 4 else maps[:, 0], -1, 1)[:, np.newaxis]


def map_of(tensor: Array) -> Array:
    """Return one tensor ``(1, channels, [rows,] columns)`` as a map."""
    if not is_map(tensor.shape):
        raise UnsupportedError(f"reads activations of shape {tensor.shape}; accepted: (1, channels,"
                               " rows, columns) or (1, channels, columns)")
    map_: Array = maps_of(tensor[np.newaxis])[0]
    return map_


def tensor_of(map_: Array, rank: int) -> Array:
    """Return the inverse of `map_of`."""
    tensor: Array = tensors_of(map_[np.newaxis], rank)[0]
    return tensor


def per_channel(values: Array, shape: tuple[int, ...]) -> Array:
    """Return what `values` are in each channel of a tensor of `shape`, the same everywhere."""
    rows = map_of(np.broadcast_to(values, shape)).reshape(-1, shape[1])
    if (rows != rows[:1]).any():
        raise UnsupportedError("the scale or zero point of its input differs by row or column; "
                               "accepted: one, or one for each channel")
    first: Array = rows[0]
    return first
