"""The interpreter of a network: it executes the operators on symbolic values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.apply import apply
from bittern.gen.importers.errors import MalformedError, UnsupportedError, line, refuse
from bittern.gen.importers.frames import frames
from bittern.gen.importers.tflite import elementwise, shapes, weighted, windows
from bittern.gen.importers.tflite.arithmetic import RANGES, quantize
from bittern.gen.importers.tflite.elementwise import requantization
from bittern.gen.importers.tflite.graph import Builder, Constant, Host, Stream, Tail, Value, inner
from bittern.gen.network import Network, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.importers.tflite.file import Content, Operation, TensorInfo
    from bittern.gen.ir import Tensor
    from bittern.hw.ints import Ints

__all__ = ["Interpreter"]

RULES: dict[str, Callable[..., Any]] = {
    **weighted.RULES, **windows.RULES, **elementwise.RULES, **shapes.RULES}
INSTEAD = {
    "CUSTOM": "cut what comes after the network, detection or sampling, off",
    "DIV": "multiply by the inverse",
    "EXP": "end the network before it",
    "IF": "export the branch that is taken",
    "LSTM": "unroll it, or use convolutions",
    "REDUCE_MAX": "MAX_POOL_2D over the whole map",
    "RESIZE_BILINEAR": "RESIZE_NEAREST_NEIGHBOR",
    "SUM": "MEAN",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "unroll it, or use convolutions",
    "WHILE": "unroll the loop",
}
"""The nearest rewrite of operators that have no rule."""


class Interpreter:
    """Executes the operators of a file, one rule each."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.builder = Builder()
        self.values: dict[int, Value | None] = {}
        self.made: dict[int, list[str]] = {}

    def network(self) -> Network:
        """Execute all operators and return the network."""
        content = self.content
        self.check()
        self.open(content.input)
        problems = []
        for o in content.operations:
            before = len(self.builder.nodes)
            try:
                with np.errstate(all="ignore"):
                    results = self.execute(o)
            except MalformedError as fault:
                raise MalformedError(f"{content.name}: operator {o.name}: "
                                     f"{line(fault)}") from None
            except ValueError as problem: # of a rule, a layer or NumPy
                results = ()
                problems.append(f"{o.name} ({o.op}): {line(problem)}")
            except (ArithmeticError, LookupError, MemoryError, TypeError, AttributeError) as error:
                results = ()
                problems.append(f"{o.name} ({o.op}): has inputs or options of the wrong kind "
                                f"({line(error)})")
            self.made[o.index] = [*self.builder.nodes][before:]
            for position, output in enumerate(o.outputs):
                if output.index in self.values or output.data:
                    raise MalformedError(f"{content.name}: operator {o.name} makes tensor "
                                         f"{output.index} a second time")
                self.values[output.index] = results[position] if position < len(results) else None
        refuse(content.name, problems, "operator")
        if content.output.index not in self.values:
            raise MalformedError(f"{content.name}: no operator makes the output "
                                 f"{content.output.name!r}")
        return self.finish(self.values[content.output.index])

    def check(self) -> None:
        """Raise :exc:`MalformedError` for a network that is not quantized at all."""
        content = self.content
        made = [t for o in content.operations for t in o.outputs]
        if any(t.type in ("INT8", "INT16") and t.scale.size for t in made):
            return
        types = {t.type for t in made}
        weights = {t.type for o in content.operations for t in o.inputs if t and t.data
                   and t.scale.size}
        kind = "its activations are UINT8, of TensorFlow 1" if types == {"UINT8"} else (
            "it has weights of 8 bits, but its activations are floats (dynamic range)"
            if weights else f"its activations are {', '.join(sorted(types)[:4])}")
        raise MalformedError(f"{content.name} is not a quantized network: {kind}; convert it with "
                             "full integer quantization: a representative data set and "
                             "TFLITE_BUILTINS_INT8")

    def open(self, info: TensorInfo) -> None:
        """Take the input of the network."""
        shape, name = info.shape, self.content.name
        if not shape or info.dynamic or (len(shape) > 1 and shape[0] != 1):
            what = f"batch size {shape[0]}" if shape and not info.dynamic else "a dynamic shape"
            raise MalformedError(f"{name}: input {info.name!r} of shape {shape} has {what}; "
                                 "convert the network with a fixed shape and batch 1")
        try:
            if info.type == "FLOAT32":
                self.values[info.index] = Host(shape)
            elif info.type == "UINT8":
                self.values[info.index] = Host(shape, info.quantization)
            else:
                self.values[info.index] = self.builder.open(shape, info.quantization)
        except UnsupportedError as problem:
            raise MalformedError(f"{name}: the input {problem}") from None

    def execute(self, o: Operation) -> tuple[Value, ...]:
        """Execute one operator; what an earlier problem left out is no new problem."""
        rule = RULES.get(o.op)
        if rule is None:
            instead = INSTEAD.get(o.op.split()[0])
            raise UnsupportedError(f"has no rule; instead: {instead}" if instead else
                                   f"has no rule; accepted: {', '.join(sorted(RULES))}")
        operands: list[Value | None] = []
        for info in o.inputs:
            if info is None:
                operands.append(None)
            elif info.index in self.values:
                if (value := self.values[info.index]) is None:
                    return ()
                operands.append(value)
            elif info.data:
                quantized = info.type in RANGES and info.scale.size == 1
                operands.append(Constant(info.array(),
                                         info.quantization if quantized else None))
            else:
                raise MalformedError(f"reads tensor {info.index} ({info.name!r}), which no "
                                     "operator before it makes")
        results = apply(rule, self.builder, o, inputs=operands)
        return results if isinstance(results, tuple) else (results,)

    def finish(self, output: Value | None) -> Network:
        """Return the network whose output is `output`."""
        content = self.content
        if isinstance(output, Stream):
            dtype = np.dtype(output.quantization.type.lower())
            output = Tail(output.edge, output.shape, lambda q: q.astype(dtype))
        if not isinstance(output, Tail):
            raise MalformedError(f"{content.name}: the output {content.output.name!r} does not "
                                 "depend on the quantized input")
        graph, names = self.builder.finish(output.edge)
        formats = {name: self.builder.formats[edge] for edge, name in names.items()}
        rules = tuple(Rule(o.name, o.op, self.rule(o, names)) for o in content.operations)
        return Network(content.name, graph, inner(content.input.shape),
                       self.encoder(graph.input), decoder(output), rules, formats)

    def rule(self, o: Operation, names: dict[str, str]) -> str:
        """Return what took an operator, in words."""
        made = self.made[o.index]
        kept = [self.builder.nodes[edge].layer for edge in made if edge in names]
        if kept:
            return ", ".join(type(layer).__name__.lower() for layer in kept)
        if made:
            return "folded into the next"
        values = [self.values[t.index] for t in o.outputs]
        if any(isinstance(v, Tail) for v in values) or any(
                t and isinstance(self.values.get(t.index), Host) for t in o.inputs):
            return "host"
        return "constant" if all(isinstance(v, Constant) for v in values) else "nothing to do"

    def encoder(self, tensor: Tensor) -> Callable[[NDArray[Any]], Ints]:
        """Return the function that turns the user's array into the input of the graph.

        Integers are what the file stores; floats are quantized as QUANTIZE does it. A file that
        takes floats takes integers as floats.
        """
        info, frame = self.content.input, inner(self.content.input.shape)
        to = self.builder.input
        first = to if info.type == "FLOAT32" else info.quantization
        requantized = requantization(first, to) if first != to else None

        def encode(x: NDArray[Any]) -> Ints:
            x = frames(x, frame)
            if x.dtype.kind == "f" or info.type == "FLOAT32":
                q = quantize(x.astype(np.float32), first)
            else:
                q = x.astype(np.int64)
                if q.size and not first.lo <= q.min() <= q.max() <= first.hi:
                    raise ValueError(f"the input has integers in {q.min()}..{q.max()}; accepted: "
                                     f"{first.lo}..{first.hi}, or floats")
            return (requantized(q) if requantized else q).reshape(len(x), *tensor.shape)

        return encode


def decoder(output: Tail) -> Callable[[Ints], NDArray[Any]]:
    """Return the function that turns the graph's output into the reference's."""
    shape = inner(output.shape)
    return lambda q: output.run(q).reshape(len(q), *shape)
