"""Scales and zero points of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import MalformedError, UnsupportedError
from bittern.gen.importers.onnx.arithmetic import Quantization
from bittern.gen.importers.onnx.values import Codes, Constant, Value

if TYPE_CHECKING:
    from bittern.gen.importers.onnx_file import Array

__all__ = ["EIGHT_BITS", "codes_of", "constant", "positive", "quantization"]

EIGHT_BITS = (np.dtype(np.int8), np.dtype(np.uint8))


def constant(value: Value | None, what: str) -> Array:
    """Return the array of a value that must be constant."""
    if not isinstance(value, Constant):
        raise UnsupportedError(f"its {what} {'is left out' if value is None else 'is computed'}; "
                               "accepted: a constant")
    return value.array


def positive(value: Value | None) -> Array:
    """Return a scale; 1 if there is none."""
    if value is None:
        return np.ones((), np.float32)
    scale = constant(value, "scale")
    if scale.dtype != np.float32:
        raise UnsupportedError(f"has a scale of type {scale.dtype}; accepted: float32")
    if scale.size == 0 or not (scale > 0).all():
        raise MalformedError(f"scale must be positive, not {scale.min(initial=0):g}")
    return scale


def quantization(scale: Value | None, zero: Value | None,
                 dtype: np.dtype[Any] | None = None) -> Quantization:
    """Return the parameters of a tensor of activations."""
    s = positive(scale)
    z = np.zeros((), dtype or np.uint8) if zero is None else constant(zero, "zero point")
    if s.size != 1 or z.size != 1:
        raise UnsupportedError(f"has {max(s.size, z.size)} scales or zero points for activations; "
                               "accepted: one")
    if z.dtype not in EIGHT_BITS or (dtype and z.dtype != dtype):
        raise UnsupportedError(f"has a zero point of type {z.dtype}; accepted: "
                               f"{dtype or 'int8, uint8'}")
    return Quantization(np.float32(s.item()), int(z.item()), z.dtype)


def codes_of(array: Array, scale: Value | None, zero: Value | None, axis: int) -> Codes:
    """Return integer weights, with parameters that are one or one for each index of `axis`."""
    if array.dtype not in (*EIGHT_BITS, np.dtype(np.int32)):
        raise UnsupportedError(f"has weights of type {array.dtype}; accepted: int8, uint8")
    s = positive(scale)
    z = np.zeros((), array.dtype) if zero is None else constant(zero, "zero point")
    if z.dtype != array.dtype:
        raise UnsupportedError(f"has a zero point of type {z.dtype} for {array.dtype}")
    return Codes(array, along(z.astype(np.int64), array, axis), along(s, array, axis))


def along(parameter: Array, array: Array, axis: int) -> Array:
    """Return a parameter in a shape that broadcasts to that of `array`."""
    if parameter.size == 1:
        return parameter.reshape((1,) * array.ndim)
    if not -array.ndim <= axis < array.ndim or parameter.shape != (array.shape[axis],):
        raise UnsupportedError(f"has parameters of shape {parameter.shape} for weights of shape "
                               f"{array.shape}; accepted: one, or one for each index of axis "
                               f"{axis}")
    shape = [1] * array.ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)
