"""The content of a TFLite file, checked: no FlatBuffers past this module."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tflite
from numpy.typing import NDArray

from bittern.gen.importers.errors import LARGEST, MalformedError, UnsupportedError
from bittern.gen.importers.tflite.arithmetic import RANGES, Quantization

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Array", "Content", "Operation", "TensorInfo", "parse", "recognizes"]

Array: TypeAlias = NDArray[Any]

TYPES = {v: k for k, v in vars(tflite.TensorType).items() if k.isupper()}
ACTIVATIONS = {v: k for k, v in vars(tflite.ActivationFunctionType).items() if k.isupper()}
PADDINGS = {v: k for k, v in vars(tflite.Padding).items() if k.isupper()}
DTYPES = {"INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64}
RANK = 8
"""Dimensions that a tensor may have."""

OPTIONS: dict[str, tuple[type, tuple[str, ...]]] = {
    "ADD": (tflite.AddOptions, ("FusedActivationFunction", "PotScaleInt16")),
    "AVERAGE_POOL_2D": (tflite.Pool2DOptions, (
        "Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction")),
    "CONCATENATION": (tflite.ConcatenationOptions, ("Axis", "FusedActivationFunction")),
    "CONV_2D": (tflite.Conv2DOptions, (
        "Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor",
        "FusedActivationFunction", "QuantizedBiasType")),
    "DEPTHWISE_CONV_2D": (tflite.DepthwiseConv2DOptions, (
        "Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "DepthMultiplier",
        "FusedActivationFunction")),
    "FULLY_CONNECTED": (tflite.FullyConnectedOptions, (
        "FusedActivationFunction", "WeightsFormat", "KeepNumDims", "QuantizedBiasType")),
    "LEAKY_RELU": (tflite.LeakyReluOptions, ("Alpha",)),
    "MAX_POOL_2D": (tflite.Pool2DOptions, (
        "Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction")),
    "MEAN": (tflite.ReducerOptions, ("KeepDims",)),
    "MUL": (tflite.MulOptions, ("FusedActivationFunction",)),
    "PACK": (tflite.PackOptions, ("Axis",)),
    "RESIZE_NEAREST_NEIGHBOR": (tflite.ResizeNearestNeighborOptions, (
        "AlignCorners", "HalfPixelCenters")),
    "SOFTMAX": (tflite.SoftmaxOptions, ("Beta",)),
    "SPLIT": (tflite.SplitOptions, ("NumSplits",)),
    "STRIDED_SLICE": (tflite.StridedSliceOptions, (
        "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")),
    "SUB": (tflite.SubOptions, ("FusedActivationFunction", "PotScaleInt16")),
    "TRANSPOSE_CONV": (tflite.TransposeConvOptions, (
        "Padding", "StrideH", "StrideW", "FusedActivationFunction", "QuantizedBiasType")),
}
"""Of each operator, the table its options are in, and those that are read."""
VECTORS = {"RESHAPE": (tflite.ReshapeOptions, "NewShape"),
           "SQUEEZE": (tflite.SqueezeOptions, "SqueezeDims")}
"""Operators with one option, which is a vector of integers."""


@dataclass(frozen=True, eq=False)
class TensorInfo:
    """A tensor of the file.

    Parameters
    ----------
    index : int
    name : str
        For people, of printable characters.
    type : str
        As in the schema: ``"INT8"``.
    shape : tuple[int, ...]
        With the batch, as stored.
    dynamic : bool
        Whether a dimension other than the first may change.
    scale, zero : array ``(channels or 1,)``
        Empty where the tensor is not quantized.
    axis : int
        Of the channels, where there is a scale for each.
    strange : str
        What this tensor has that nothing here takes, or nothing.
    data : bytes
        Of a constant, or empty.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    dynamic: bool
    scale: NDArray[np.float32]
    zero: NDArray[np.int64]
    axis: int
    strange: str
    data: bytes

    def array(self) -> Array:
        """Return the elements of a constant."""
        count = prod(self.shape)
        if self.strange:
            raise UnsupportedError(f"constant {self.name!r} {self.strange}")
        if self.type == "INT4":
            if len(self.data) != -(-count // 2):
                raise MalformedError(f"constant {self.name!r} has {len(self.data)} bytes, not "
                                     f"{-(-count // 2)}")
            pairs = np.frombuffer(self.data, np.uint8)
            nibbles = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:count].astype(np.int8)
            return (nibbles - 16 * (nibbles > 7)).astype(np.int8).reshape(self.shape)
        if self.type not in DTYPES:
            raise UnsupportedError(f"has a constant {self.name!r} of type {self.type}; accepted: "
                                   f"{', '.join(DTYPES)}, INT4")
        dtype = np.dtype(DTYPES[self.type]).newbyteorder("<")
        if len(self.data) != count * dtype.itemsize:
            raise MalformedError(f"constant {self.name!r} has {len(self.data)} bytes, not "
                                 f"{count * dtype.itemsize}")
        return np.frombuffer(self.data, dtype).reshape(self.shape)

    @property
    def quantization(self) -> Quantization:
        """What the integers of an activation stand for."""
        if self.type not in RANGES:
            raise UnsupportedError(f"has activations of type {self.type} ({self.name!r}); "
                                   "accepted: INT8 or INT16; convert the model with full integer "
                                   "quantization")
        if self.strange:
            raise UnsupportedError(f"tensor {self.name!r} {self.strange}")
        if len(self.scale) != 1:
            many = f"{len(self.scale)} scales" if len(self.scale) else "no scale"
            raise UnsupportedError(f"activations {self.name!r} have {many}; accepted: one scale "
                                   "for the whole tensor")
        quantization = Quantization(self.type, self.scale[0], int(self.zero[0]))
        if not quantization.lo <= quantization.zero <= quantization.hi:
            raise MalformedError(f"tensor {self.name!r} has the zero point {quantization.zero}, "
                                 f"which is no {self.type}")
        return quantization


@dataclass(frozen=True, eq=False)
class Operation:
    """An operator of the file, the one at `index`; an input that is left out is None."""

    index: int
    op: str
    inputs: tuple[TensorInfo | None, ...]
    outputs: tuple[TensorInfo, ...]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The operator and its index: operators have no names in the file."""
        return f"{self.op.lower()}_{self.index}".replace(" ", "_")

    @property
    def output(self) -> TensorInfo:
        """The only output."""
        if len(self.outputs) != 1:
            raise UnsupportedError(f"has {len(self.outputs)} outputs; accepted: one")
        return self.outputs[0]


@dataclass(frozen=True, eq=False)
class Content:
    """A network as the file has it."""

    name: str
    input: TensorInfo
    output: TensorInfo
    operations: tuple[Operation, ...]


def recognizes(data: bytes) -> bool:
    """Return whether `data` is a TFLite model."""
    return data[4:8] == b"TFL3"


def parse(data: bytes, name: str) -> Content:
    """Return the content of a TFLite file, or raise :exc:`ValueError`."""
    if not recognizes(data):
        raise MalformedError(f"{name} is not a TFLite model: it lacks the identifier TFL3")
    try:
        return Reader(data, name).content()
    except (MalformedError, UnsupportedError):
        raise
    except (struct.error, ArithmeticError, AttributeError, LookupError, MemoryError, TypeError,
            ValueError): # what FlatBuffers, struct and NumPy raise for offsets beyond the file
        raise MalformedError(f"{name} is damaged or truncated") from None


class Reader:
    """Reads tables; vectors, all together, may have no more bytes than twice the file."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        self.budget = 2 * len(data)

    def count(self, table: Any, field: str, size: int = 4) -> int:
        """Return the length of a vector of elements of `size` bytes."""
        count: int = getattr(table, f"{field}Length")()
        self.budget -= count * size
        if self.budget < 0:
            raise MalformedError(f"{self.name} is damaged: a vector of {count} elements is longer "
                                 "than the file")
        return count

    def tables(self, table: Any, field: str) -> Iterator[Any]:
        """Yield the tables of a vector."""
        for i in range(self.count(table, field)):
            yield getattr(table, field)(i)

    def vector(self, table: Any, field: str, size: int = 4) -> Array:
        """Return a vector of numbers of `size` bytes."""
        if not self.count(table, field, size):
            return np.empty(0, np.int64)
        array: Array = getattr(table, f"{field}AsNumpy")()
        return array

    def content(self) -> Content:
        """Return what is in the file."""
        model = tflite.Model.GetRootAs(self.data, 0)
        graphs = [*self.tables(model, "Subgraphs")]
        if len(graphs) != 1:
            raise MalformedError(f"{self.name} has {len(graphs)} subgraphs; accepted: one, without "
                                 "control flow")
        codes = [self.op(code) for code in self.tables(model, "OperatorCodes")]
        buffers = [*self.tables(model, "Buffers")]
        tensors = [self.tensor(t, i, buffers)
                   for i, t in enumerate(self.tables(graphs[0], "Tensors"))]
        operations = tuple(self.operation(o, i, codes, tensors)
                           for i, o in enumerate(self.tables(graphs[0], "Operators")))
        if not operations:
            raise MalformedError(f"{self.name} has no operators")
        ends = []
        for field in ("Inputs", "Outputs"):
            found = self.indices(self.vector(graphs[0], field), tensors)
            if len(found) != 1 or found[0] is None:
                names = ", ".join(repr(t.name) for t in found[:5] if t)
                raise MalformedError(f"{self.name} has {len(found)} {field.lower()} ({names}); "
                                     "accepted: one")
            ends.append(found[0])
        return Content(self.name, ends[0], ends[1], operations)

    def op(self, code: Any) -> str:
        """Return what an operator is called: in old files the number has 8 bits."""
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            return f"CUSTOM {printable(code.CustomCode())}"
        try:
            return str(tflite.opcode2name(number))
        except ValueError:
            return f"BUILTIN_{number}"

    def tensor(self, t: Any, index: int, buffers: list[Any]) -> TensorInfo:
        """Return a tensor."""
        name = printable(t.Name()) or f"tensor_{index}"
        shape = tuple(int(n) for n in self.vector(t, "Shape"))
        signature = self.vector(t, "ShapeSignature")
        if len(shape) > RANK or min(shape, default=1) < 1 or prod(shape) > LARGEST:
            raise MalformedError(f"{self.name}: tensor {name!r} has shape {shape[:RANK]}: it is "
                                 "dynamic, damaged or too large")
        strange = "is a variable; accepted: networks without a state" if t.IsVariable() else (
            "is sparse; accepted: dense tensors" if t.Sparsity() is not None else "")
        q = t.Quantization()
        scale, zero, axis = np.empty(0, np.float32), np.empty(0, np.int64), 0
        if q is not None:
            scale, zero, axis = self.vector(q, "Scale"), self.vector(q, "ZeroPoint", 8), \
                q.QuantizedDimension()
            if q.DetailsType():
                strange = "has a custom or blockwise quantization; accepted: scales of channels"
            if len(scale) and not len(zero):
                zero = np.zeros(1, np.int64)
            if len(scale) and len(zero) not in (1, len(scale)):
                raise MalformedError(f"{self.name}: tensor {name!r} has {len(scale)} scales and "
                                     f"{len(zero)} zero points")
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                raise MalformedError(f"{self.name}: tensor {name!r} has a scale that is not "
                                     "positive and finite")
        buffer = buffers[t.Buffer()]
        if buffer.Offset() > 1 or buffer.Size() > 1:
            strange = "is stored behind the model; accepted: files below 2 GB, in one piece"
        return TensorInfo(index, name, TYPES.get(t.Type(), f"TYPE_{t.Type()}"), shape,
                          bool((signature[1:] < 0).any()), scale, zero, axis, strange,
                          self.vector(buffer, "Data", 1).astype(np.uint8).tobytes())

    def operation(self, o: Any, index: int, codes: list[str],
                  tensors: list[TensorInfo]) -> Operation:
        """Return an operator."""
        op = codes[o.OpcodeIndex()]
        inputs = self.indices(self.vector(o, "Inputs"), tensors)
        outputs = self.indices(self.vector(o, "Outputs"), tensors)
        return Operation(index, op, inputs, tuple(t for t in outputs if t is not None),
                         self.options(o, op))

    def indices(self, indices: Array, tensors: list[TensorInfo]) -> tuple[TensorInfo | None, ...]:
        """Return tensors by index; -1 is none."""
        if ((indices < -1) | (indices >= len(tensors))).any():
            raise MalformedError(f"{self.name} is damaged: there is no tensor {indices.max()} of "
                                 f"{len(tensors)}")
        return tuple(tensors[i] if i >= 0 else None for i in indices)

    def options(self, o: Any, op: str) -> dict[str, Any]:
        """Return the options of an operator; those left out have their defaults."""
        kind, fields = OPTIONS.get(op, (None, ()))
        vector = VECTORS.get(op)
        kind = vector[0] if vector else kind
        if kind is None:
            return {}
        table = kind()
        packed = o.BuiltinOptions()
        wanted = getattr(tflite.BuiltinOptions, kind.__name__)
        if packed is None or o.BuiltinOptionsType() != wanted:
            if not vector:
                raise MalformedError(f"{self.name} is damaged: an operator {op} has no options")
            return {}
        table.Init(packed.Bytes, packed.Pos)
        if vector:
            return {vector[1]: tuple(int(v) for v in self.vector(table, vector[1]))}
        options = {field: getattr(table, field)() for field in fields}
        for field, names in (("FusedActivationFunction", ACTIVATIONS), ("Padding", PADDINGS),
                             ("QuantizedBiasType", TYPES)):
            if field in options:
                options[field] = names.get(options[field], f"number {options[field]}")
        return options


def printable(text: bytes | None) -> str:
    """Return a name of the file as people can read it."""
    shown = (text or b"")[:200].decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in shown)
