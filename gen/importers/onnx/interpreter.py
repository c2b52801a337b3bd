"""The interpreter of a network: it executes the nodes on symbolic values."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.importers.apply import apply
from bittern.gen.importers.errors import MalformedError, UnsupportedError, line, refuse
from bittern.gen.importers.frames import frames
from bittern.gen.importers.onnx.arithmetic import Quantization, float32
from bittern.gen.importers.onnx.elementwise import ELEMENTWISE_RULES, append_pair
from bittern.gen.importers.onnx.fusion import (
    CARRIERS,
    DEQUANTIZE,
    INT8_ALLOWED,
    NOTHING,
    OLDEST,
    OUTPUT_DTYPE,
    QUANTIZE,
)
from bittern.gen.importers.onnx.graph import Builder, described, numbered
from bittern.gen.importers.onnx.linear import LINEAR_RULES
from bittern.gen.importers.onnx.moves import MOVE_RULES
from bittern.gen.importers.onnx.parameters import (
    EIGHT_BITS,
    codes_of,
    constant,
    positive,
    quantization,
)
from bittern.gen.importers.onnx.pools import POOL_RULES
from bittern.gen.importers.onnx.values import (
    Codes,
    Constant,
    Host,
    Pair,
    Source,
    Stream,
    Tail,
    Value,
    stored,
)
from bittern.gen.ir import INPUT
from bittern.gen.layers.requantize import Requantize
from bittern.gen.network import Network, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.importers.onnx_file import Array, Content, Operation
    from bittern.hw.ints import Ints

__all__ = ["Interpreter"]

EPSILON = np.finfo(np.float32).eps
"""By how much more than QuantizeLinear a Clip may clip that ONNX Runtime leaves out before it."""


class Interpreter:
    """Executes the operations of a file, one rule each.

    Parameters
    ----------
    content : Content
    int8 : bool
        Whether kernels on int8 are allowed. Otherwise, as on x86, int8 between one QuantizeLinear
        and one DequantizeLinear becomes uint8, and other int8 is not fused.
    """

    def __init__(self, content: Content, *, int8: bool) -> None:
        self.content, self.int8 = content, int8
        self.builder = Builder()
        self.rules: dict[int, str] = {}
        self.values: dict[str, Value | None] = {n: Constant(a)
                                                for n, a in content.constants.items()}
        self.makers = {name: o for o in content.operations for name in o.outputs}
        self.readers: dict[str, list[Operation]] = {}
        for o in content.operations:
            for name in o.inputs:
                self.readers.setdefault(name, []).append(o)
        self.uses = Counter(name for o in content.operations for name in o.inputs)
        self.uses[content.output] += 1
        self.encoded: tuple[Host, Quantization] | None = None
        self.builder.input_shape = content.shape
        self.builder.channel_axis = self.channel_axis()

    def network(self) -> Network:
        """Execute all operations and return the network."""
        content = self.content
        if content.operations[0].opset < OLDEST:
            raise MalformedError(f"{content.name} has operator set {content.operations[0].opset}; "
                                 f"accepted: {OLDEST} and later")
        if content.dtype in EIGHT_BITS:
            of = Quantization(np.float32(1), 0, content.dtype)
            self.builder.open(prod(content.shape), of.lo, of.hi, f"{content.dtype} of the input")
            self.values[content.input] = Stream(INPUT, numbered(content.shape), content.dtype,
                                                stored)
        else:
            self.values[content.input] = Host(content.shape, lambda x: x)
        left = Counter(self.uses)
        problems: list[str] = []
        for o in content.operations:
            results = self.attempt(o, problems)
            for position, name in enumerate(o.outputs):
                if name in self.values:
                    raise MalformedError(f"{content.name}: node {o.name} makes {name!r} a second "
                                         "time")
                if name:
                    self.values[name] = results[position] if position < len(results) else None
            left.subtract(o.inputs)
            for name in o.inputs: # what nobody reads any more is not kept
                if not left[name] and isinstance(self.values.get(name), Stream | Pair):
                    self.values[name] = None
        refuse(content.name, problems)
        if content.output not in self.values:
            raise MalformedError(f"{content.name}: no node makes the output {content.output!r}")
        return self.finish(self.values[content.output])

    def attempt(self, o: Operation, problems: list[str]) -> tuple[Value, ...]:
        """Execute one operation; if it cannot be, say why in `problems` and return nothing."""
        for name in o.inputs:
            if name and name not in self.values:
                raise MalformedError(f"{self.content.name}: node {o.name} reads {name!r}, which no "
                                     "node before it makes")
        xs = [self.values[name] if name else None for name in o.inputs]
        if any(x is None and name for x, name in zip(xs, o.inputs, strict=True)):
            return ()
        try:
            with np.errstate(all="ignore"):
                return self.execute(o, xs)
        except MalformedError as fault:
            raise MalformedError(f"{self.content.name}: node {o.name} ({o.op}): "
                                 f"{line(fault)}") from None
        except UnsupportedError as problem:
            problems.append(f"{o.name} ({o.op}): {line(problem)}")
        except (ArithmeticError, LookupError, MemoryError, TypeError, AttributeError,
                ValueError) as error: # a rule or NumPy refuses what the file asks for
            problems.append(f"{o.name} ({o.op}): has {len(o.inputs)} inputs, of which some are of "
                            f"the wrong kind ({line(error)})")
        return ()

    def channel_axis(self) -> int:
        """Return which axis of the input has the channels for the first convolution or pool."""
        name = self.content.input
        order: list[int] = [*range(len(self.content.shape))]
        if len(order) not in (3, 4):
            return 1
        for _ in self.content.operations: # in a damaged file they may go round in a circle
            if not (readers := self.readers.get(name)):
                break
            (reader, *_) = readers
            if "Conv" in reader.op or "Pool" in reader.op or not reader.outputs:
                return order[1]
            if reader.op == "Transpose":
                order = [order[i] for i in reader.attribute("perm", [*range(len(order))][::-1])]
            elif "Reshape" in reader.op or "Flatten" in reader.op:
                break
            name = reader.outputs[0]
        return 1

    def execute(self, o: Operation, xs: list[Value | None]) -> tuple[Value, ...]:
        """Execute one operation."""
        for name, x in zip(o.inputs, xs, strict=True):
            if isinstance(x, Constant) and o.op != "Clip" and not np.isfinite(x.array).all():
                raise MalformedError(f"input {name!r} has an infinity or a NaN")
        if o.op not in RULES:
            raise UnsupportedError(f"unknown operator; accepted: {', '.join(sorted(RULES))}")
        result = apply(RULES[o.op], self, o, inputs=xs)
        results = result if isinstance(result, tuple) else (result,)
        if isinstance(results[0], Constant):
            self.rules[o.index] = "constant"
        elif isinstance(results[0], Host):
            self.rules.setdefault(o.index, "host: before the graph")
        elif o.index not in self.rules:
            results = tuple(noted(r, o.index) for r in results)
        return (self.parted(o, results[0]),) if len(results) == 1 else results

    def parted(self, o: Operation, value: Value) -> Value:
        """Return what `o` made, without what the reference does not see in it any more."""
        if isinstance(value, Stream | Pair) and value.unit and self.uses[o.outputs[0]] != 1:
            value = replace(value, unit=None)
        if not isinstance(value, Stream) or value.source is None or o.op not in CARRIERS:
            return value
        readers = self.readers.get(o.outputs[0], [])
        if o.outputs[0] == self.content.output and readers:
            return replace(value, source=None)
        inserted = sum(r.op not in QUANTIZE for r in readers) + (not readers)
        if inserted:
            self.check_inserted(o, value.source.stored)
        return replace(value, source=self.source(value.source.stored, single=inserted == 1))

    def check_inserted(self, o: Operation, of: Quantization) -> None:
        """Refuse what the reference does not load, where it inserts quantizers of its own."""
        if of.dtype != np.int8 or o.opset < OUTPUT_DTYPE:
            return
        if not self.int8:
            raise UnsupportedError("is between int8 and an operator, which ONNX Runtime 1.31 does "
                                   "not load from this operator set on; accepted: operator set "
                                   f"{OUTPUT_DTYPE - 1}, or quantizers around {o.op}")
        self.rules.setdefault(o.index, f"nothing to do, with {INT8_ALLOWED}")

    # Quantization

    def source(self, of: Quantization, *, single: bool) -> Source:
        """Return what a fused kernel sees of stored integers that one node reads, or several."""
        if self.int8 or not single or of.dtype == np.uint8:
            return Source(of, of)
        return Source(of, Quantization(of.scale, of.zero + 128, np.dtype(np.uint8)))

    def quantize(self, o: Operation, x: Value, scale: Value, zero: Value | None = None) -> Value:
        """QuantizeLinear."""
        kinds = {0: None, 2: np.dtype(np.uint8), 3: np.dtype(np.int8)}
        kind = o.attribute("output_dtype", 0)
        if o.attribute("block_size", 0) or kind not in kinds:
            raise UnsupportedError("quantizes blocks, or to more than 8 bits; accepted: int8, "
                                   "uint8")
        dtype = kinds[kind]
        if isinstance(x, Constant):
            z = np.zeros((), dtype or np.uint8) if zero is None else constant(zero, "zero point")
            codes = codes_of(np.zeros(x.shape, z.dtype), scale, Constant(z),
                             o.attribute("axis", 1))
            limits = [float32(end - codes.zero) for end in (
                np.iinfo(z.dtype).min, np.iinfo(z.dtype).max)]
            y = np.rint(np.clip(x.array / codes.scale, *limits)).astype(np.int64) + codes.zero
            return Constant(y.astype(z.dtype))
        to = quantization(scale, zero, dtype)
        if isinstance(x, Host):
            return self.input(o, x, to)
        if isinstance(x, Tail):
            run, kernel = x.run, None
            if x.unit and x.unit.dtype == self.seen(o, to).dtype and self.uses[o.inputs[0]] == 1:
                kernel = x.unit.codes(self.seen(o, to))
            offset = self.seen(o, to).zero - to.zero
            return replace(x, unit=None, run=(lambda q: kernel(q) - offset) if kernel else (
                lambda q: to.codes(run(q))))
        self.check_second(o, to)
        maker = self.makers.get(o.inputs[0])
        if maker and maker.op == "Clip" and to.scale < 2 * EPSILON:
            raise UnsupportedError(f"has scale {to.scale:g} behind Clip, which ONNX Runtime leaves "
                                   f"out then; accepted: {2 * EPSILON:g} at least")
        if isinstance(x, Stream | Pair) and x.unit and x.unit.moved:
            self.check_inserted(o, to)
            seen = self.source(to, single=True).seen # one is put before what moves elements
        else:
            seen = self.seen(o, to)
        fused = x.unit and x.unit.dtype == seen.dtype and redundant(x.unit.clips, to, scale)
        return self.requantized(o, x, to, seen if fused else None)

    def requantized(self, o: Operation, x: Stream | Pair, to: Quantization,
                    seen: Quantization | None) -> Stream:
        """Quantize: in one kernel with the operator before, if it is known what that sees."""
        format_ = described(to.scale, to.zero)
        if isinstance(x, Pair):
            edge = append_pair(self, x, to, seen, o.name, format_)
            self.took(x, f"folded into {o.name}")
            self.rules[o.index] = f"{x.op.lower()}, thresholds" if seen is to else "thresholds"
            if seen and self.int8 and seen.dtype == np.int8 and o.op in QUANTIZE:
                self.rules[o.index] += f", with {INT8_ALLOWED}"
            return Stream(edge, self.builder.where(x), to.dtype, stored)
        if seen is None or x.unit is None:
            return self.closed(o, x, lambda q: to.codes(x.function(q)), to)
        kernel, offset = x.unit.codes(seen), seen.zero - to.zero
        if kernel is None:
            raise UnsupportedError(f"its input {x.reason}")
        y = self.closed(o, x, lambda q: kernel(q) - offset, to)
        if self.int8 and seen.dtype == np.int8 and o.op in QUANTIZE:
            self.rules[o.index] += f", with {INT8_ALLOWED}"
        return y

    def closed(self, o: Operation, x: Stream, function: Callable[[Ints], Ints],
               to: Quantization, name: str = "") -> Stream:
        """Requantize a stream: return its integers in the type of the file."""
        edge = self.builder.requantize(x, function, name or o.name, described(to.scale, to.zero))
        self.took(x, f"folded into {o.name}")
        if edge == x.edge:
            self.rules.setdefault(o.index, "nothing to do")
            return Stream(edge, x.places, to.dtype, stored)
        layer, before = self.builder.nodes[edge].layer, self.rules.get(o.index)
        assert isinstance(layer, Requantize)
        kind = type(layer.spec).__name__.lower()
        self.rules[o.index] = f"{before}, {kind}" if before else kind
        return Stream(edge, self.builder.where(x), to.dtype, stored)

    def dequantize_stored(self, o: Operation, x: Value, scale: Value, zero: Value | None) -> Value:
        """Return floats of an operator on integers, as if DequantizeLinear was there."""
        if isinstance(x, Constant):
            codes = codes_of(x.array, scale, zero, 0)
            return Constant(float32(codes.centred) * codes.scale, codes)
        x = self.integers(x, o)
        of = quantization(scale, zero, x.dtype)
        return replace(x, dtype=np.dtype(np.float32), run=of.floats, source=Source(of, of))

    def fused(self, o: Operation, x: Value, to: Quantization) -> Stream:
        """Return integers of an operator on integers, as if QuantizeLinear was there."""
        if not isinstance(x, Stream | Pair):
            raise UnsupportedError("has constant operands only; accepted: activations")
        return self.requantized(o, x, to, to)

    def dtype_of(self, x: Value) -> np.dtype[Any] | None:
        """Return the type of a tensor, if it has one."""
        return x.dtype if isinstance(x, Stream | Constant) else None

    def quantized_as(self, name: str) -> Quantization | None:
        """Return how all nodes that read a tensor quantize it, if they agree."""
        readers = self.readers.get(name, [])
        if self.uses[name] == 1 and readers and readers[0].op in (*CARRIERS, *NOTHING, "Flatten"):
            return self.quantized_as(readers[0].outputs[0])
        if self.uses[name] != len(readers) or any(r.op not in QUANTIZE for r in readers):
            return None
        found = {self.parameters(r) for r in readers}
        return next(iter(found)) if len(found) == 1 else None

    def parameters(self, o: Operation) -> Quantization:
        """Return the parameters of a QuantizeLinear or DequantizeLinear."""
        scale, zero = (*(self.values.get(name) for name in o.inputs[1:3]), None)[:2]
        return quantization(scale, zero)

    def seen(self, o: Operation, to: Quantization) -> Quantization:
        """Return the quantization of what `o` makes as a fused kernel has it."""
        readers = self.readers.get(o.outputs[0], [])
        single = (self.uses[o.outputs[0]] == 1 and len(readers) == 1
                  and readers[0].op in DEQUANTIZE and len(o.inputs) == 3
                  and len(readers[0].inputs) == 3 and self.uses[readers[0].outputs[0]] == 1)
        return self.source(to, single=single).seen

    def check_second(self, o: Operation, to: Quantization) -> None:
        """Refuse a second pair of quantizers, which the reference replaces by one of its own."""
        first = self.makers.get(o.inputs[0])
        if first is None or first.op not in DEQUANTIZE or self.uses[o.inputs[0]] != 1:
            return
        origin = self.makers.get(first.inputs[0])
        readers = self.readers.get(o.outputs[0], [])
        if (origin is None or origin.op not in QUANTIZE or self.uses[first.inputs[0]] != 1
                or self.uses[o.outputs[0]] != 1 or not readers or readers[0].op not in DEQUANTIZE):
            return
        of = self.parameters(first)
        if of != to and of.dtype == to.dtype:
            raise UnsupportedError(f"follows {origin.name} with other parameters, and the reference"
                                   " replaces both by new ones; accepted: one of them")

    def input(self, o: Operation, x: Host, to: Quantization) -> Stream:
        """Make the input of the graph."""
        if self.encoded is not None:
            if self.encoded == (x, to):
                return Stream(INPUT, numbered(x.shape), to.dtype, stored)
            raise UnsupportedError("is the second quantizer of the network's input; accepted: one")
        self.rules[o.index] = "host: quantizes the input"
        self.encoded = x, to
        self.builder.open(prod(x.shape), to.lo, to.hi, described(to.scale, to.zero))
        return Stream(INPUT, numbered(x.shape), to.dtype, stored)

    def dequantize(self, o: Operation, x: Value, scale: Value,
                   zero: Value | None = None) -> Value:
        """DequantizeLinear."""
        if o.attribute("block_size", 0):
            raise UnsupportedError("has blocks; accepted: a scale for all, or for each index of an "
                                   "axis of constants")
        if isinstance(x, Constant):
            codes = codes_of(x.array, scale, zero, o.attribute("axis", 1))
            return Constant(float32(codes.centred) * codes.scale, codes)
        if isinstance(x, Stream) and x.dtype == np.int32:
            factor, inner = positive(scale), x.function
            if factor.size != 1 or (zero is not None and constant(zero, "zero point").any()):
                raise UnsupportedError("has several scales, or a zero point, for activations of "
                                       "int32; accepted: one scale")
            return replace(x, dtype=np.dtype(np.float32),
                           run=lambda q: float32(inner(q)) * factor.reshape(()))
        if not isinstance(x, Stream | Tail):
            raise UnsupportedError("reads floats; accepted: integers")
        of = quantization(scale, zero, self.dtype_of(x))
        if isinstance(x, Tail):
            run = x.run
            return replace(x, run=lambda q: of.floats(run(q)))
        x = self.integers(x, o)
        maker = self.makers.get(o.inputs[0])
        single = (maker is not None and maker.op in QUANTIZE and len(maker.inputs) == 3
                  and len(o.inputs) == 3 and self.uses[o.inputs[0]] == 1
                  and self.uses[o.outputs[0]] == 1)
        return replace(x, dtype=np.dtype(np.float32), run=of.floats,
                       source=self.source(of, single=single))

    def integers(self, x: Value, o: Operation) -> Stream:
        """Return a stream whose integers are those of the file."""
        x = self.stream(x)
        if x.dtype not in EIGHT_BITS:
            raise UnsupportedError(f"reads {x.dtype}; accepted: int8, uint8")
        if x.run is stored:
            return x
        edge = self.builder.requantize(x, x.function, f"{o.name}_input",
                                       self.builder.formats[x.edge])
        self.took(x, f"folded into the input of {o.name}")
        return Stream(edge, self.builder.where(x) if edge != x.edge else x.places, x.dtype, stored)

    def stream(self, x: Value | None, what: str = "input") -> Stream:
        """Return a value that must be on the chip."""
        if isinstance(x, Stream):
            return x
        if isinstance(x, Pair):
            raise UnsupportedError(f"its {what} is a result of {x.op} that is not quantized; "
                                   f"accepted: QuantizeLinear directly behind {x.op}")
        kinds = {Constant: "is a constant", Host: "is not quantized", type(None): "is left out",
                 Tail: "comes after Softmax or ArgMax"}
        raise UnsupportedError(f"its {what} {kinds[type(x)]}; accepted: quantized activations")

    # What the reference sees

    def fits(self, x: Stream, codes: Codes) -> bool:
        """Return whether there is a kernel for activations and weights of these types."""
        return x.source is not None and (
            x.source.seen.dtype == np.uint8 or (self.int8 and codes.integers.dtype == np.int8))

    def quantizes(self, name: str) -> bool:
        """Return whether QuantizeLinear comes behind a tensor, or behind Relu or Clip."""
        readers = self.readers.get(name, [])
        if any(r.op in QUANTIZE for r in readers):
            return True
        if len(readers) != 1 or self.uses[name] != 1:
            return False
        (reader,) = readers
        if reader.op in CARRIERS or reader.op in NOTHING:
            return self.uses[reader.outputs[0]] == 1 and self.quantizes(reader.outputs[0])
        return (reader.op in ("Relu", "Clip") and self.uses[reader.outputs[0]] == 1
                and self.quantizes(reader.outputs[0]))

    def took(self, x: Stream | Pair | Tail, rule: str) -> None:
        """Note what became of the pending operations of `x`."""
        for index in x.pending:
            self.rules.setdefault(index, rule)

    # The network

    def finish(self, output: Value | None) -> Network:
        """Return the network whose output is `output`."""
        name = self.content.name
        if isinstance(output, Pair):
            raise UnsupportedError(f"{name}: the output is a result of {output.op} that is not "
                                   f"quantized; accepted: QuantizeLinear directly behind it")
        if not isinstance(output, Stream | Tail):
            raise MalformedError(f"{name}: the network is not quantized; export it with "
                                 "QuantizeLinear and DequantizeLinear around its operators")
        if isinstance(output, Stream):
            if output.run is None:
                raise UnsupportedError(f"cannot import {name}: its output {output.reason}")
            output = self.tail(output, output.shape, lambda v: v)
        self.took(output, "host: after the graph")
        graph, names = self.builder.finish(output.edge)
        formats = {name: self.builder.formats[edge] for edge, name in names.items()}
        rules = tuple(Rule(o.name, o.op, self.rules.get(o.index, "not used by the output"))
                      for o in self.content.operations)
        shape = self.content.shape
        return Network(name, graph, shape[1:] or shape, self.encoder(), decoder(output), rules,
                       formats)

    def tail(self, x: Stream, shape: tuple[int, ...], function: Callable[[Array], Array]) -> Tail:
        """Return what the host makes of a stream: `function` takes ``(frames, *x.shape)``."""
        if self.builder.is_free(x):
            x = self.builder.settled(x, "input")
        places, run, dtype = self.builder.where(x), x.function, x.dtype

        def from_edge(q: Ints) -> Array:
            values = np.broadcast_to(run(q), q.shape).reshape(len(q), -1)
            return function(values[:, places.ravel()].reshape(len(q), *places.shape).astype(dtype))

        return Tail(x.edge, shape, from_edge, pending=x.pending)

    def encoder(self) -> Callable[[NDArray[Any]], Ints]:
        """Return the function that turns the user's array into the input of the graph."""
        declared, encoded, dtype = self.content.shape, self.encoded, self.content.dtype
        frame = declared[1:] or declared
        spots, shape = self.builder.spots, self.builder.types[INPUT].shape
        order = np.arange(prod(shape)) if spots is None else np.argsort(spots)

        def encode(x: NDArray[Any]) -> Ints:
            x = frames(x, frame)
            if encoded is None:
                q = x.astype(np.int64)
                if not np.array_equal(q, x) or not np.array_equal(q.astype(dtype), q):
                    raise ValueError(f"the input has numbers that are no {dtype}")
            else:
                host, to = encoded
                with np.errstate(all="ignore"):
                    y = host.run(x.astype(np.float32).reshape(len(x), *declared))
                    if not np.isfinite(y).all():
                        raise ValueError("the input is too large: what is quantized is not finite")
                    q = to.codes(y)
            return q.reshape(len(x), -1)[:, order].reshape(len(x), *shape)

        return encode


def noted(x: Value, index: int) -> Value:
    """Return `x` with another operation of the file that is in it."""
    if isinstance(x, Constant | Host) or index in x.pending:
        return x
    return replace(x, pending=(*x.pending, index))


def redundant(clips: tuple[tuple[float, float], ...], to: Quantization, scale: Value) -> bool:
    """Return whether the reference sees that QuantizeLinear clips as much as what is before it.

    One of several that is not Relu is compared in floats there.
    """
    if all(clip == (0, np.inf) for clip in clips):
        return not clips or to.zero == to.lo
    if scale.shape:
        return False
    if len(clips) > 1:
        lo, hi = (to.scale * np.float32(end - to.zero) for end in (to.lo, to.hi))
        return all(low - lo <= EPSILON and hi - high <= EPSILON for low, high in clips)
    ((low, high),) = clips
    return bool(np.rint(np.float32(low) / to.scale) + to.zero <= to.lo
                and np.rint(np.float32(high) / to.scale) + to.zero >= to.hi)


def decoder(output: Tail) -> Callable[[Ints], NDArray[Any]]:
    """Return the function that turns the graph's output into the reference's."""
    shape = output.shape[1:] if output.shape[:1] == (1,) else output.shape

    def decode(q: Ints) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return output.run(q).reshape(len(q), *shape)

    return decode


RULES: dict[str, Callable[..., Value | tuple[Value, ...]]] = {
    **dict.fromkeys(QUANTIZE, Interpreter.quantize),
    **dict.fromkeys(DEQUANTIZE, Interpreter.dequantize),
    **ELEMENTWISE_RULES,
    **LINEAR_RULES,
    **MOVE_RULES,
    **POOL_RULES,
}
