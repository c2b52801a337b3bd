"""The content of an ONNX file, checked: no ONNX types past this module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from bittern.gen.importers.errors import LARGEST, LARGEST_MAP, MalformedError, UnsupportedError

__all__ = ["QUANTIZED", "Array", "Content", "Operation", "operators", "parse", "recognizes"]

Array: TypeAlias = NDArray[Any]

STANDARD = ("", "ai.onnx")
QUANTIZED = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")


@dataclass(frozen=True, eq=False)
class Operation:
    """A node of the file, the one at `index`."""

    index: int
    name: str
    op: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute, which must be of the type of `default`."""
        value = self.attributes.get(name, default)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if type(value) is not type(default):
            raise UnsupportedError(f"attribute {name} is a {type(value).__name__}; accepted: "
                                   f"{type(default).__name__}")
        return value

    def required(self, name: str, example: Any) -> Any:
        """Return an attribute the reference has no default for."""
        if name not in self.attributes:
            raise UnsupportedError(f"has no attribute {name}; the reference requires it")
        return self.attribute(name, example)


@dataclass(frozen=True, eq=False)
class Content:
    """A network as the file has it."""

    name: str
    input: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    output: str
    constants: dict[str, Array]
    operations: tuple[Operation, ...]


def recognizes(data: bytes) -> bool:
    """Return whether `data` is an ONNX model."""
    return bool(operators(data))


def operators(data: bytes) -> list[tuple[str, str]]:
    """Return domain and name of the operator of each node, or nothing if this is no ONNX model."""
    try:
        nodes = ModelProto.FromString(data).graph.node
    except DecodeError:
        return []
    return [(str(node.domain), str(node.op_type)) for node in nodes] # bytes where it is damaged


def parse(data: bytes, name: str, inputs_of: tuple[int, ...] = (TensorProto.FLOAT,)) -> Content:
    """Return the content of an ONNX file, or raise :exc:`ValueError`.

    The input is to have one of the types `inputs_of`.
    """
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        raise MalformedError(f"{name} is not an ONNX model, or a truncated one") from None
    if not is_text(model):
        raise MalformedError(f"{name} is damaged: a name in it is not text")
    graph = model.graph
    if not graph.node:
        raise MalformedError(f"{name} is not an ONNX model, or a truncated one: it has no nodes")
    if graph.sparse_initializer:
        raise MalformedError(f"{name} has sparse initializers; accepted: dense ones")
    constants = {t.name: to_array(t, f"initializer {t.name!r}") for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        raise MalformedError(f"{name} has {len(inputs)} inputs "
                             f"({listed(i.name for i in inputs)}); accepted: one")
    if len(graph.output) != 1:
        raise MalformedError(f"{name} has {len(graph.output)} outputs "
                             f"({listed(o.name for o in graph.output)}); accepted: one")
    opsets = {o.domain: o.version for o in model.opset_import}
    names: set[str] = set()
    operations = []
    for index, node in enumerate(graph.node):
        clean = re.sub(r"[^A-Za-z0-9_]+", "_", node.name).strip("_") or f"{node.op_type}_{index}"
        while clean in names:
            clean = f"{clean}_{index}"
        names.add(clean)
        operations.append(operation(node, index, clean, opsets))
    shape = input_shape(inputs[0], inputs_of)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))
    return Content(name, inputs[0].name, shape, dtype, graph.output[0].name, constants,
                   tuple(operations))


def is_text(message: Message) -> bool:
    """Return whether all strings in `message` are UTF-8: protobuf returns bytes where not."""
    for field, value in message.ListFields():
        values = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING and any(isinstance(v, bytes) for v in values):
            return False
        if field.type == field.TYPE_MESSAGE and not all(map(is_text, values)):
            return False
    return True


def operation(node: onnx.NodeProto, index: int, name: str,
              opsets: dict[str, int]) -> Operation:
    """Return a node of the file; one of an unknown domain keeps it in its operator's name."""
    known = (*STANDARD, *QUANTIZED)
    op = node.op_type if node.domain in known else f"{node.domain}.{node.op_type}"
    op = re.sub(r"[^!-~]+", "?", op)
    version = max((opsets[d] for d in STANDARD if d in opsets), default=0)
    if node.domain in STANDARD and version < 1:
        raise MalformedError("the file declares no version of the ONNX operators: it is damaged")
    return Operation(index, name, op, version, tuple(node.input), tuple(node.output),
                     {a.name: attribute(a, name) for a in node.attribute})


def attribute(proto: AttributeProto, node: str) -> Any:
    """Return the value of an attribute; subgraphs are left as they are: no rule takes them."""
    try:
        value = helper.get_attribute_value(proto)
    except ValueError:
        raise MalformedError(f"{node}: attribute {proto.name!r} is damaged") from None
    if isinstance(value, TensorProto):
        return to_array(value, f"{node}: attribute {proto.name!r}")
    return list(value) if proto.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def to_array(tensor: TensorProto, what: str) -> Array:
    """Return a tensor's values: finite or infinite numbers."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise MalformedError(f"{what} is stored in another file; save the model as one file")
    if any(d < 0 for d in tensor.dims) or prod(tensor.dims) > LARGEST:
        raise MalformedError(f"{what} has shape {tuple(tensor.dims)}: it is damaged or too large")
    try:
        array: Array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise MalformedError(f"{what} is damaged: {str(error).splitlines()[0]}") from None
    if array.dtype.kind not in "fiu":
        raise MalformedError(f"{what} has type {array.dtype}; accepted: integers and floats")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise MalformedError(f"{what} has a NaN")
    return array


def input_shape(value: onnx.ValueInfoProto, accepted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the declared shape of the input, batch axis included."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in accepted:
        kinds = {v: k for k, v in TensorProto.DataType.items()}
        raise MalformedError(f"input {value.name!r} has type "
                             f"{kinds.get(tensor.elem_type, 'UNDEFINED')}; accepted: "
                             f"{', '.join(kinds[kind] for kind in accepted)}")
    words = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
             for d in tensor.shape.dim]
    shape = tuple(d.dim_value for d in tensor.shape.dim)
    if not shape or min(shape) < 1:
        raise MalformedError(f"input {value.name!r} has a dynamic shape ({', '.join(words)}); "
                             "export the network with a fixed shape and batch 1")
    if len(shape) > 1 and shape[0] != 1:
        raise MalformedError(f"input {value.name!r} of shape {shape} has batch size {shape[0]}; "
                             "export the network with batch 1")
    if prod(shape) > LARGEST_MAP:
        raise MalformedError(f"input {value.name!r} has shape {shape}; accepted: {LARGEST_MAP} "
                             "elements")
    return shape


def listed(names: Any) -> str:
    """Return names for a message, a few of them."""
    shown = [repr(n) for _, n in zip(range(5), names, strict=False)]
    return ", ".join(shown) + (", …" if len(shown) == 5 else "")
