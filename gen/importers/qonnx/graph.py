"""The graph under construction, and what becomes of streams in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers import builder
from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.gen.importers.qonnx.values import Lattice, Stream
from bittern.gen.importers.thresholds import fit
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.requantize import Requantize
from bittern.hw.ints import Ints, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array

__all__ = ["Builder"]

TABLE = 2**22
"""Values looked at to find out whether they are equally spaced."""
EXACT = 2**24
"""Integers below are floats of 32 bits."""


class Builder(builder.Builder):
    """A graph of streams."""

    def __init__(self) -> None:
        super().__init__()
        self.lattices: dict[str, Lattice] = {}

    def stream(self, edge: str, shape: tuple[int, ...], lattice: Lattice) -> Stream:
        """Return the stream of an edge whose integers stand for the points of `lattice`."""
        self.lattices[edge] = lattice
        return points(edge, shape, lattice)

    def requantize(self, x: Stream, codes: Callable[[Array], Ints], name: str) -> str:
        """Append thresholds that turn the integers of `x` into `codes` of its floats."""
        edge, sign = x.edge, np.ones(x.size, np.int64)

        def function(q: Ints) -> Ints:
            return codes(x.run(q * sign)).reshape(q.shape)

        tensor = self.types[edge]
        first, last = function(np.array([[tensor.lo], [tensor.hi]]) * sign)
        if (first > last).any():
            sign = np.where(first > last, -1, 1)
            edge = self.negate(edge, sign, name)
        tensor = self.types[edge]
        return self.add(name, Requantize(fit(function, tensor.lo, tensor.hi, x.size)), edge)

    def negate(self, edge: str, sign: Ints, name: str) -> str:
        """Return an edge like `edge` with some channels negated, for functions that decrease."""
        node = self.nodes.get(edge)
        if node is not None and isinstance(node.layer, Dense):
            dense = Dense(frozen(node.layer.weights * sign[:, np.newaxis]),
                          frozen(node.layer.bias * sign))
            negated = self.add(self.wishes[edge], dense, *node.inputs)
        else:
            if sign.size**2 > LARGEST:
                raise UnsupportedError(f"decreases in {(sign < 0).sum()} channels; accepted: "
                                       "directly after MatMul or Gemm")
            negated = self.add(f"{name}_negate", Dense(frozen(np.diag(sign)),
                                                       frozen(np.zeros_like(sign))), edge)
        self.lattices[negated] = replace(self.lattices[edge],
                                         scale=self.lattices[edge].scale * sign)
        return negated

    def exact(self, x: Stream, name: str) -> Stream:
        """Return a stream of the values of `x` with nothing pending, or say that there is none."""
        if not x.pending:
            return x
        tensor, lattice = self.types[x.edge], x.lattice
        q = np.arange(tensor.lo, tensor.hi + 1)
        if q.size * x.size > TABLE:
            raise UnsupportedError(f"its input has {q.size} possible values in each of {x.size} "
                                   "channels and is not quantized; accepted: Quant before it")

        def codes(y: Array) -> Ints:
            return np.rint(y.reshape(len(y), -1) / lattice.scale).astype(np.int64)

        values = x.run(q[:, np.newaxis] + np.zeros(x.size, np.int64))
        table = codes(values)
        multiples = Lattice(lattice.scale, 1, np.zeros(x.size, np.int64))
        if not np.array_equal(multiples(table), values.reshape(table.shape)):
            raise UnsupportedError("its input is not a multiple of the scale of the last "
                                   "quantizer; accepted: Quant before it")
        steps = np.diff(table, axis=0)
        if steps.size and (steps == steps[0, 0]).all() and steps[0, 0] > 0:
            step = int(steps[0, 0])
            return points(x.edge, x.shape,
                          Lattice(lattice.scale, step, table[0] - step * tensor.lo))
        return self.stream(self.requantize(x, codes, f"{name}_input"), x.shape, multiples)

    def biased(self, x: Stream, bias: Array) -> Stream | None:
        """Return ``x + bias`` where that is integers of a Dense, to the last bit of the floats.

        The scale is a power of two and the integers are small: nothing is rounded, so that the
        outputs of a network are comparable integers though each has a bias of its own.
        """
        node, lattice = self.nodes.get(x.edge), x.lattice
        if (x.pending or node is None or not isinstance(node.layer, Dense) or lattice.step != 1
                or lattice.offset.any() or (np.frexp(lattice.scale)[0] != 0.5).any()):
            return None
        units = np.broadcast_to(bias, x.shape).ravel() / lattice.scale
        if (units != np.rint(units)).any() or (np.abs(units) >= EXACT).any():
            return None
        layer = Dense(node.layer.weights, frozen(node.layer.bias + units.astype(np.int64)))
        reached = layer.infer(*(self.types[i] for i in node.inputs))
        if max(map(abs, (reached.lo, reached.hi))) >= EXACT:
            return None
        edge = self.add(self.wishes[x.edge], layer, *node.inputs)
        return self.stream(edge, x.shape, lattice)


def points(edge: str, shape: tuple[int, ...], lattice: Lattice) -> Stream:
    """Return a stream with nothing pending."""
    return Stream(edge, shape, lambda q: lattice(q).reshape(len(q), *shape), lattice)
