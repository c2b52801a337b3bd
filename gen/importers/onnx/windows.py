"""The windows of convolutions and pools, from the attributes of a node."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING

from bittern.gen.importers.errors import UnsupportedError, check_size
from bittern.hw.patches import Axis

if TYPE_CHECKING:
    from bittern.gen.importers.onnx_file import Operation

__all__ = ["axes_of", "sizes", "transposed_axes_of"]

LARGEST = 2**16
"""The largest kernel, stride, dilation and padding."""


def sizes(o: Operation, name: str, count: int, default: int, least: int = 0) -> list[int]:
    """Return an attribute that has one number for each axis."""
    values: list[int] = o.attribute(name, [default] * count) or [default] * count
    if len(values) != count or not all(isinstance(v, int) and least <= v <= LARGEST
                                       for v in values):
        raise UnsupportedError(f"has {name} {values[:8]}; accepted: {count} integers in "
                               f"{least}..{LARGEST}")
    return values


def axes_of(o: Operation, shape: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return rows and columns of the windows on a tensor; one of one axis has one row."""
    space, n = shape[2:], len(kernel)
    if len(space) != n or n not in (1, 2):
        raise UnsupportedError(f"has a kernel of shape {kernel} for a tensor of shape {shape}; "
                               "accepted: rows and columns, or columns")
    given = sizes(o, "kernel_shape", n, 1, 1)
    if "kernel_shape" in o.attributes and given != [*kernel]:
        raise UnsupportedError(f"has kernel_shape {given} for weights of shape {kernel}")
    strides, dilations = sizes(o, "strides", n, 1, 1), sizes(o, "dilations", n, 1, 1)
    pads = sizes(o, "pads", 2 * n, 0)
    mode = o.attribute("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedError(f"has auto_pad {mode!r}; accepted: NOTSET, VALID, SAME_UPPER, "
                               "SAME_LOWER")
    if mode == "VALID":
        pads = [0] * (2 * n)
    if mode.startswith("SAME") and dilations != [1] * n:
        raise UnsupportedError(f"has auto_pad {mode} and dilations, which the reference does not "
                               "compute; accepted: pads")

    def axis(size: int, taps: int, stride: int, dilation: int, before: int, after: int) -> Axis:
        reach = (taps - 1) * dilation + 1
        if mode.startswith("SAME"):
            total = max(0, ((size - 1) // stride) * stride + reach - size)
            before = (total + (mode == "SAME_LOWER")) // 2
            after = total - before
        if size + before + after < reach:
            raise UnsupportedError(f"has windows of {reach} on {size + before + after} elements")
        if o.attribute("ceil_mode", 0):
            outputs = -(-(size + before + after - reach) // stride) + 1
            outputs -= (outputs - 1) * stride >= size + before
            after = (outputs - 1) * stride + reach - size - before
        return checked(Axis(size, taps, stride, before, after, dilation))

    axes = [*starmap(axis, zip(space, kernel, strides, dilations, pads[:n], pads[n:],
                               strict=True))]
    return (axes[0], axes[1]) if n == 2 else (Axis(1), axes[0])


def transposed_axes_of(o: Operation, shape: tuple[int, ...], kernel: tuple[int, ...]
                       ) -> tuple[Axis, Axis]:
    """Return rows and columns of the windows of a transposed convolution, on the spread tensor."""
    space, n = shape[2:], len(kernel)
    if len(space) != n or n not in (1, 2):
        raise UnsupportedError(f"has a kernel of shape {kernel} for a tensor of shape {shape}; "
                               "accepted: rows and columns, or columns")
    if o.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in (
            o.attributes):
        raise UnsupportedError("has auto_pad or output_shape; accepted: pads and output_padding")
    strides, dilations = sizes(o, "strides", n, 1, 1), sizes(o, "dilations", n, 1, 1)
    pads = sizes(o, "pads", 2 * n, 0) if o.attribute("auto_pad", "NOTSET") == "NOTSET" else (
        [0] * (2 * n))
    more = sizes(o, "output_padding", n, 0)

    def axis(size: int, taps: int, stride: int, dilation: int, before: int, after: int,
             extra: int) -> Axis:
        reach = (taps - 1) * dilation
        if (size - 1) * stride + 2 * reach + extra < before + after + reach:
            raise UnsupportedError("has no outputs")
        return checked(Axis(size, taps, 1, reach - before, reach - after + extra, dilation, stride,
                            gaps=True))

    axes = [*starmap(axis, zip(space, kernel, strides, dilations, pads[:n], pads[n:], more,
                               strict=True))]
    return (axes[0], axes[1]) if n == 2 else (Axis(1), axes[0])


def checked(axis: Axis) -> Axis:
    """Return an axis, or say that it is too long."""
    check_size((axis.outputs, axis.kernel))
    return axis
