"""Rules of the operators with weights."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.gen.importers.tflite.arithmetic import Multiplier, floated, rescaled
from bittern.gen.importers.tflite.graph import Builder, Stream, Value, constant, stream
from bittern.gen.importers.tflite.windows import axes, pairs, sized
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.requantize import Requantize
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.importers.tflite.arithmetic import Quantization
    from bittern.gen.importers.tflite.file import Operation, TensorInfo

__all__ = ["RULES"]


def weights_of(o: Operation, value: Value | None, info: TensorInfo | None, axis: int
               ) -> tuple[Ints, NDArray[np.float32]]:
    """Return weights less their zero point, with the outputs at `axis`; and one scale or many."""
    array = constant(value, "weights")
    if info is None or info.type not in ("INT8", "INT4") or not info.scale.size:
        raise UnsupportedError(f"has weights of type {info.type if info else 'none'}; accepted: "
                               "quantized ones, INT8 or INT4")
    if info.strange:
        raise UnsupportedError(f"its weights: {info.name!r} {info.strange}")
    axis %= max(array.ndim, 1)
    if info.scale.size > 1 and (info.axis, info.scale.size) != (axis, array.shape[axis]):
        raise UnsupportedError(f"has {info.scale.size} scales along axis {info.axis} of its "
                               f"weights of shape {array.shape}; accepted: one, or one for each of "
                               f"axis {axis}")
    if info.zero.any() and (o.op != "FULLY_CONNECTED" or info.scale.size > 1):
        raise UnsupportedError(f"has weights with the zero point {info.zero[info.zero != 0][0]}; "
                               "accepted: symmetric weights, zero point 0")
    return array.astype(np.int64) - int(info.zero[0]), info.scale


def bias_of(o: Operation, x: Quantization, position: int, biases: tuple[Value | None, ...],
            outputs: int) -> tuple[Ints, bool]:
    """Return the bias, and whether the reference sums in 64 bits."""
    value = biases[0] if biases else None
    if len(biases) > 1:
        raise UnsupportedError(f"has {len(o.inputs)} inputs; accepted: {position + 1}")
    wide = x.type == "INT16" and o.options.get("QuantizedBiasType") != "INT32"
    if value is None:
        return np.zeros(outputs, np.int64), wide
    bias, info = constant(value, "bias"), o.inputs[position]
    accepted = "INT64" if wide else "INT32"
    if info is None or info.type != accepted or bias.shape != (outputs,):
        raise UnsupportedError(f"has a bias of shape {bias.shape} and type "
                               f"{info.type if info else 'none'}; accepted: {outputs} of "
                               f"{accepted}")
    return bias.astype(np.int64), wide


def conv_2d(g: Builder, o: Operation, x: Value, weights: Value, *bias: Value | None) -> Stream:
    """CONV_2D, of groups too: windows and a matrix."""
    x = stream(x)
    w, scale = weights_of(o, weights, o.inputs[1], 0)
    edge, tensor = g.map(o.name, x)
    if w.ndim != 4 or tensor.channels % w.shape[3] or w.shape[0] % (
            groups := tensor.channels // w.shape[3]):
        raise UnsupportedError(f"has weights of shape {w.shape} for a map of shape {x.shape}")
    outputs, rows, columns, depth = w.shape
    if w.size * groups > LARGEST:
        raise UnsupportedError(f"has {groups} groups of {w.size} weights, too many to be laid out "
                               "as one matrix")
    matrix = np.zeros((groups, outputs // groups, rows, columns, groups, depth), np.int64)
    for group, part in enumerate(w.reshape(groups, -1, rows, columns, depth)):
        matrix[group, :, :, :, group] = part
    patches = Patches(*axes(o.options, tensor.shape, (rows, columns)), x.quantization.zero)
    seen = g.window(o.name, edge, patches, x.quantization)
    return sums(g, o, x, seen, (1, *patches.shape, outputs), matrix.reshape(outputs, -1), scale,
                bias)


def depthwise_conv_2d(g: Builder, o: Operation, x: Value, weights: Value,
                      *bias: Value | None) -> Stream:
    """DEPTHWISE_CONV_2D, with one or more outputs of a channel."""
    x = stream(x)
    w, scale = weights_of(o, weights, o.inputs[1], 3)
    edge, tensor = g.map(o.name, x)
    if w.ndim != 4 or w.shape[0] != 1 or w.shape[3] % tensor.channels:
        raise UnsupportedError(f"has weights of shape {w.shape} for a map of shape {x.shape}")
    if o.options["DepthMultiplier"] not in (0, w.shape[3] // tensor.channels):
        raise UnsupportedError(f"has the depth multiplier {o.options['DepthMultiplier']} for "
                               f"{tensor.channels} channels and {w.shape[3]} outputs")
    patches = Patches(*axes(o.options, tensor.shape, w.shape[1:3]), x.quantization.zero)
    edge, patches = g.merged(edge, patches)
    taps = w.reshape(-1, w.shape[3]).T
    b, wide = bias_of(o, x.quantization, 2, bias, len(taps))
    b -= x.quantization.zero * taps.sum(axis=1)
    edge = g.append(f"{o.name}_sum", Depthwise(patches, frozen(taps), frozen(b)), edge,
                    scale=np.float64(x.quantization.scale) * scale)
    return finished(g, o, x, edge, (1, *patches.shape, len(taps)), scale, wide=wide)


def fully_connected(g: Builder, o: Operation, x: Value, weights: Value,
                    *bias: Value | None) -> Stream:
    """FULLY_CONNECTED: of all elements, or of rows."""
    x = stream(x)
    w, scale = weights_of(o, weights, o.inputs[1], 0)
    if o.options["WeightsFormat"]:
        raise UnsupportedError("has shuffled weights; accepted: the default format")
    if w.ndim != 2 or prod(x.shape) % w.shape[1]:
        raise UnsupportedError(f"has weights of shape {w.shape} for an input of shape {x.shape}")
    count, inputs = prod(x.shape) // w.shape[1], w.shape[1]
    if o.options["KeepNumDims"] and x.shape[-1] != inputs:
        raise UnsupportedError(f"keeps the dimensions of shape {x.shape}, whose last is not "
                               f"{inputs}")
    shape = (*x.shape[:-1], len(w)) if o.options["KeepNumDims"] else (count, len(w))
    edge = g.shaped(o.name, x, (inputs,) if count == 1 else (count, inputs))
    return sums(g, o, x, edge, shape, w, scale, bias)


def transpose_conv(g: Builder, o: Operation, shape: Value, weights: Value, x: Value,
                   *bias: Value | None) -> Stream:
    """TRANSPOSE_CONV: elements set apart by the stride, and a matrix of weights turned round."""
    x = stream(x, "data")
    w, scale = weights_of(o, weights, o.inputs[1], 0)
    edge, tensor = g.map(o.name, x)
    wanted = [int(n) for n in constant(shape, "output shape").ravel()]
    if len(wanted) != 4 or w.ndim != 4 or w.shape[3] != tensor.channels or wanted[0] != 1 or (
            wanted[3] != w.shape[0]) or min(wanted) < 1:
        raise UnsupportedError(f"has weights of shape {w.shape} for a map of shape {x.shape} and "
                               f"an output of shape {tuple(wanted)}")
    found = []
    for size, out, kernel, stride in zip(tensor.shape, wanted[1:3], w.shape[1:3],
                                         pairs(o.options, "Stride"), strict=False):
        lost = (-(-out // stride) - 1) * stride + kernel - out
        before = kernel - 1 - (max(lost, 0) // 2 if o.options["Padding"] == "SAME" else 0)
        axis = Axis(size, kernel, before=before, zoom=stride, gaps=True,
                    after=max(0, kernel - before - (size - 1) * stride - 1))
        found.append(sized(Axis(size, kernel, before=before, zoom=stride, gaps=True,
                                after=axis.after + out - axis.outputs)))
    patches = Patches(found[0], found[1], x.quantization.zero)
    seen = g.window(o.name, edge, patches, x.quantization)
    return sums(g, o, x, seen, tuple(wanted), w[:, ::-1, ::-1].reshape(len(w), -1), scale, bias)


def sums(g: Builder, o: Operation, x: Stream, edge: str, shape: tuple[int, ...], matrix: Ints,
         scale: NDArray[np.float32], bias: tuple[Value | None, ...]) -> Stream:
    """Append a matrix and the requantization of its sums."""
    position = len(o.inputs) - len(bias)
    b, wide = bias_of(o, x.quantization, position, bias, len(matrix))
    b -= x.quantization.zero * matrix.sum(axis=1)
    edge = g.append(f"{o.name}_sum", Dense(frozen(matrix), frozen(b)), edge,
                    scale=np.float64(x.quantization.scale) * scale)
    return finished(g, o, x, edge, shape, scale, wide=wide)


def finished(g: Builder, o: Operation, x: Stream, edge: str, shape: tuple[int, ...],
             scale: NDArray[np.float32], *, wide: bool) -> Stream:
    """Append the requantization of sums; `wide` ones have 64 bits in the reference."""
    y = o.output.quantization
    if y.type != x.quantization.type or x.quantization.type == "UINT8":
        raise UnsupportedError(f"goes from {x.quantization.type} to {y.type}; accepted: INT8 to "
                               "INT8, INT16 to INT16")
    if y.type == "INT16" and (y.zero or x.quantization.zero):
        raise UnsupportedError("has activations of 16 bits with a zero point; accepted: 0")
    real = np.float64(x.quantization.scale) * scale.astype(np.float64) / np.float64(y.scale)
    multiplier = Multiplier.of(real)
    clip, tensor = y.clip(o.options["FusedActivationFunction"]), g.types[edge]
    if o.op == "FULLY_CONNECTED": # alone multiplies with floats
        function = floated(real, (tensor.lo, tensor.hi), y, clip)
        edge = g.requantize(o.name, edge, function, y, scale.size)
    elif wide:
        spec = multiplier.wide(*clip)
        reach = max(-tensor.lo, tensor.hi) * int(spec.multiplier.max())
        if max(-tensor.lo, tensor.hi) >= 2**47 or reach >> spec.shift >= 2**31 or reach >= 2**62:
            raise UnsupportedError(f"has sums in {tensor.lo}..{tensor.hi}, which are beyond 32 "
                                   "bits after their multiplication; accepted: what fits")
        edge = g.append(o.name, Requantize(spec), edge, scale=y.scale)
    elif y.type == "INT16":
        multiplier.check(tensor.lo, tensor.hi)
        high, low = multiplier.steps(*clip)
        edge = g.append(f"{o.name}_high", Requantize(high), edge, scale=y.scale)
        edge = g.append(o.name, Requantize(low), edge, scale=y.scale)
    else:
        function = rescaled(multiplier, (tensor.lo, tensor.hi), 0, y, clip)
        edge = g.requantize(o.name, edge, function, y, scale.size)
    return Stream(edge, shape, y)


RULES: dict[str, Callable[..., Any]] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "TRANSPOSE_CONV": transpose_conv,
}
