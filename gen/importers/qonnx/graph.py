"""The graph under construction, and what becomes of streams in it."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers import builder
from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.gen.importers.qonnx.layout import is_map, map_of
from bittern.gen.importers.qonnx.values import Lattice, Stream
from bittern.gen.importers.thresholds import fit
from bittern.gen.ir import INPUT, Tensor
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.reshape import Reshape
from bittern.hw.ints import Ints, frozen
from bittern.hw.patches import Axis, Patches
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

    from bittern.gen.importers.onnx_file import Array

__all__ = ["Builder"]

TABLE = 2**22
"""Values looked at to find out whether they are equally spaced."""
EXACT = 2**24
"""Integers below are floats of 32 bits."""
MOVED = 2**20
"""Weights of a layer that only moves elements."""
LOOSE = "input, in the file's order"
"""Edge of the network's input, as long as it is not said in which order it travels."""


class Builder(builder.Builder):
    """A graph of streams.

    In which order the elements of the network's input travel is decided by the first layer that
    reads it: the host can bring them in any. `arrangement` has the place in the file of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lattices: dict[str, Lattice] = {}
        self.arrangement = np.empty(0, np.int64)

    def input(self, lo: int, hi: int, shape: tuple[int, ...], lattice: Lattice) -> Stream:
        """Return the stream of the network's input."""
        size = prod(shape)
        self.types[LOOSE] = Tensor((size,), lo, hi)
        return self.stream(LOOSE, np.arange(size).reshape(shape), lattice)

    def stream(self, edge: str, places: Ints, lattice: Lattice) -> Stream:
        """Return the stream of an edge whose integers stand for the points of `lattice`."""
        self.lattices[edge] = lattice
        return points(edge, places, lattice)

    def settled(self, x: Stream, order: Ints | None = None) -> Stream:
        """Return `x` on an edge of the graph: the network's input is brought in this `order`."""
        if x.edge != LOOSE:
            return x
        if INPUT not in self.types:
            if order is None:
                order = map_of(x.places) if is_map(x.shape) else x.places.ravel()
            self.arrangement = order.ravel()
            self.types[INPUT] = replace(self.types[LOOSE], shape=order.shape)
            self.lattices[INPUT] = self.lattices[LOOSE]
        return replace(x, edge=INPUT, places=np.argsort(self.arrangement)[x.places])

    def arranged(self, x: Stream, order: Callable[[Ints], Ints], name: str) -> str:
        """Return an edge with the elements of `x` in another order, that of ``order(places)``."""
        x = self.settled(x, order(x.places))
        wanted, have = order(x.places), self.types[x.edge].shape
        rows, vectors = wanted.reshape(-1, wanted.shape[-1]), np.arange(prod(have[:-1]))
        edge = x.edge
        if not np.array_equal(wanted.ravel(), np.arange(wanted.size)):
            if rows.shape == (vectors.size, have[-1]) and np.array_equal(
                    rows, rows[0] + vectors[:, np.newaxis] * have[-1]):
                edge = self.pick(edge, rows[0], name) # within each vector
            elif wanted.size**2 <= MOVED:
                edge = self.pick(self.reshaped(edge, (wanted.size,), name), wanted.ravel(), name)
            else:
                raise UnsupportedError(f"reads activations of shape {x.shape} in an order in which "
                                       "they are not computed; accepted: Transpose or Reshape "
                                       "before the first quantizer")
        return self.reshaped(edge, wanted.shape, name)

    def flat(self, x: Stream, name: str) -> tuple[str, Ints]:
        """Return an edge of one vector with the elements of `x`, and their places there."""
        x = self.settled(x, x.places.ravel())
        return self.reshaped(x.edge, (x.places.size,), name), x.places.ravel()

    def pick(self, edge: str, order: Ints, name: str) -> str:
        """Return an edge whose vectors have their elements in another order."""
        eye = np.eye(len(order), dtype=np.int64)
        picked = self.add(f"{name}_order", Dense(frozen(eye[order]), frozen(0 * order)), edge)
        self.lattices[picked] = self.lattices[edge]
        return picked

    def reshaped(self, edge: str, shape: tuple[int, ...], name: str) -> str:
        """Return an edge with the same elements in another shape."""
        if self.types[edge].shape == shape:
            return edge
        reshaped = self.add(f"{name}_shape", Reshape(shape), edge)
        self.lattices[reshaped] = self.lattices[edge]
        return reshaped

    def spread(self, x: Stream, values: Array) -> Array:
        """Return what `values` of the tensor are on its edge: ``(vectors, channels)``."""
        elements = np.empty(x.places.size, values.dtype)
        elements[x.places.ravel()] = np.broadcast_to(values, x.shape).ravel()
        return elements.reshape(-1, self.types[x.edge].channels)

    def requantize(self, x: Stream, codes: Callable[[Array], Ints], shape: tuple[int, ...],
                   name: str) -> tuple[str, Ints]:
        """Append thresholds that turn `x` into `codes` of its floats; also return the places.

        The parameters in `codes` are of `shape`.
        """
        x = self.settled(x)
        x = self.rising(replace(x, grain=np.broadcast_shapes(x.grain, shape)), codes, name)

        def function(q: Ints) -> Ints:
            return codes(x.run(q.reshape(-1, *x.grain))).reshape(q.shape)

        tensor = self.types[x.edge]
        spec = fit(function, tensor.lo, tensor.hi, x.functions)
        if spec.channels > 1:
            which = self.spread(x, np.arange(x.functions).reshape(x.grain))
            if (which != which[0]).any(): # not by channel as it seems: perhaps by what it does
                values, same = np.unique(spec.values, axis=0, return_inverse=True)
                spec, which = Thresholds(frozen(values), spec.lo), same[which]
            which = which.ravel() if (which != which[0]).any() else which[0]
            if which.size * spec.values.shape[1] > LARGEST:
                raise UnsupportedError(f"needs {spec.values.shape[1]} thresholds for each of "
                                       f"{which.size} elements; accepted: {LARGEST} in all")
            spec = Thresholds(frozen(spec.values[which]), spec.lo)
        return self.add(name, Requantize(spec), x.edge), x.places

    def rising(self, x: Stream, function: Callable[[Array], Array], name: str) -> Stream:
        """Return `x` with those channels negated in which `function` of it decreases."""
        x = self.settled(x)
        run, tensor = x.run, self.types[x.edge]

        def falls(lo: int, hi: int) -> Array:
            first, last = (function(run(np.full((1, *x.grain), end)))[0] for end in (lo, hi))
            decreases: Array = first > last
            return decreases

        if not falls(tensor.lo, tensor.hi).any():
            return x
        reach = max(-tensor.lo, tensor.hi) # the others see more integers, too, from now on
        sign = np.where(falls(-reach, reach), -1, 1)
        edge = self.multiplied(x, sign, name)
        self.lattices[edge] = replace(x.lattice, scale=x.lattice.scale * sign,
                                      offset=x.lattice.offset * sign)
        return replace(x, edge=edge, run=lambda q: run(q * sign))

    def multiplied(self, x: Stream, factors: Ints, name: str) -> str:
        """Return an edge like that of `x` with its integers multiplied by `factors`."""
        by_element = self.spread(x, factors)
        if (by_element != (by_channel := by_element[0])).any():
            raise UnsupportedError("needs other factors for some elements of a channel; accepted: "
                                   "the same for all of it")
        node, shape = self.nodes.get(x.edge), self.types[x.edge].shape
        if node is not None and isinstance(node.layer, (Dense, Depthwise)):
            layer = replace(node.layer, bias=frozen(node.layer.bias * by_channel),
                            weights=frozen(node.layer.weights * by_channel[:, np.newaxis]))
            return self.add(self.wishes[x.edge], layer, *node.inputs)
        zeros = frozen(0 * by_channel)
        if len(shape) == 3:
            each = Depthwise(Patches(Axis(shape[0]), Axis(shape[1])),
                             frozen(by_channel[:, np.newaxis]), zeros)
            return self.add(f"{name}_factors", each, x.edge)
        if zeros.size**2 > LARGEST:
            raise UnsupportedError(f"decreases in {(by_channel < 0).sum()} channels; accepted: "
                                   "directly after MatMul or Gemm")
        return self.add(f"{name}_factors", Dense(frozen(np.diag(by_channel)), zeros), x.edge)

    def multiples(self, x: Stream, unit: float, name: str) -> Stream:
        """Return an exact stream of the values of `x` with another scale, that divides its own."""
        x = self.settled(x)
        factors = np.rint(x.lattice.scale / unit).astype(np.int64)
        return self.stream(self.multiplied(x, factors, name), x.places, Lattice(
            np.full((1,) * factors.ndim, unit), x.lattice.step, x.lattice.offset * factors))

    def exact(self, x: Stream, name: str) -> Stream:
        """Return a stream of the values of `x` with nothing pending, or say that there is none."""
        if x.is_exact:
            return x
        tensor, lattice = self.types[x.edge], Lattice.multiples(x.lattice.scale)
        q = np.arange(tensor.lo, tensor.hi + 1)
        if q.size * x.functions > TABLE:
            raise UnsupportedError(f"its input has {q.size} possible values in each of "
                                   f"{x.functions} channels and is not quantized; accepted: Quant "
                                   "before it")
        values = x.run(q.reshape(-1, *(1 for _ in x.grain)) + np.zeros(x.grain, np.int64))
        table = times(values, lattice.scale)
        if not np.array_equal(lattice(table), values):
            raise UnsupportedError("its input is not a multiple of the scale of the last "
                                   "quantizer; accepted: Quant before it")
        steps = np.diff(table, axis=0)
        if steps.size and (steps == steps.flat[0]).all() and steps.flat[0] > 0:
            step = int(steps.flat[0])
            return points(x.edge, x.places,
                          Lattice(lattice.scale, step, table[0] - step * tensor.lo))
        return self.plain(x, name)

    def plain(self, x: Stream, name: str) -> Stream:
        """Return a stream whose integers are multiples of a scale; the values of `x` are."""
        scale = x.lattice.scale
        edge, places = self.requantize(x, lambda v: times(v, scale), scale.shape,
                                       f"{name}_input")
        return self.stream(edge, places, Lattice.multiples(scale))

    def filled(self, x: Stream, value: float, name: str) -> tuple[Stream, int]:
        """Return an exact stream of the values of `x`, and the integer that is `value` in it."""
        lattice = x.lattice
        fill = np.rint((value / lattice.scale - lattice.offset) / lattice.step)
        if (fill == fill.flat[0]).all() and abs(fill.flat[0]) < EXACT and (
                lattice(fill.astype(np.int64)) == np.float32(value)).all():
            return x, int(fill.flat[0])
        if lattice.step == 1 and not lattice.offset.any():
            raise UnsupportedError(f"fills with {value:g}, which is no multiple of the scale of "
                                   f"its input ({lattice}); accepted: 0")
        return self.filled(self.plain(x, name), value, name)

    def biased(self, x: Stream, bias: Array) -> Stream | None:
        """Return ``x + bias`` where that is integers of a layer, to the last bit of the floats.

        The scale is a power of two and the integers are small: nothing is rounded, so that the
        outputs of a network are comparable integers though each has a bias of its own.
        """
        node, lattice = self.nodes.get(x.edge), x.lattice
        if (not x.is_exact or node is None or not isinstance(node.layer, (Dense, Depthwise))
                or lattice.step != 1 or lattice.offset.any()
                or (np.frexp(lattice.scale)[0] != 0.5).any()):
            return None
        units = self.spread(x, bias / lattice.scale)
        if ((units != np.rint(units[0])).any() or (np.abs(units) >= EXACT).any()):
            return None
        layer = replace(node.layer, bias=frozen(node.layer.bias + units[0].astype(np.int64)))
        reached = layer.infer(*(self.types[i] for i in node.inputs))
        if max(map(abs, (reached.lo, reached.hi))) >= EXACT:
            return None
        edge = self.add(self.wishes[x.edge], layer, *node.inputs)
        return self.stream(edge, x.places, lattice)


def times(values: Array, scale: Array) -> Ints:
    """Return how many times `scale` values are."""
    return np.rint(values / scale).astype(np.int64)


def points(edge: str, places: Ints, lattice: Lattice) -> Stream:
    """Return a stream with nothing pending."""
    ones = (1,) * places.ndim
    grain = np.broadcast_shapes(lattice.scale.shape, lattice.offset.shape, ones)
    return Stream(edge, places, lattice, grain, lattice)
