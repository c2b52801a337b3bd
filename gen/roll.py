"""Loops for layers that repeat: the same hardware, with other parameters each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Node
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.depthwise import Depthwise
from bittern.gen.layers.loop import LoopEntry, LoopExit
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.window import Window
from bittern.hw.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.gen.ir import Graph, Layer, Tensor

__all__ = ["rolled"]


def rolled(graph: Graph) -> Graph:
    """Return `graph` with its longest repetition of layers as a loop, if there is one.

    A block of layers that ends in a requantization repeats where the next ones are of the same
    kinds and shapes, each reads nothing but the one before, and the parameters of all can be stored
    in one form.
    """
    types, count = graph.types(), len(graph.nodes)
    runs = [_run(graph, types, first, length) for first in range(count)
            for length in range(1, (count - first) // 2 + 1)]
    # of those that save the same, the one with the fewest bits that go around
    best = max(runs, key=lambda run: (run.saved, -run.bits), default=None)
    if best is None or not best.saved:
        return graph
    nodes, end = graph.nodes, best.first + best.length * best.turns
    head, last = nodes[best.first], nodes[best.first + best.length - 1]
    entry, leave = f"{head.name}_entry", f"{last.name}_exit"
    ends = [types[nodes[k].name] for k in range(best.first + best.length - 1, end, best.length)]
    back = LoopEntry(min(y.lo for y in ends[:-1]), max(y.hi for y in ends[:-1]), best.turns)
    body = [Node(node.name, layer, node.inputs)
            for node, layer in zip(nodes[best.first:], best.layers, strict=False)]
    body[0] = replace(body[0], inputs=(entry,))
    after = [replace(node, inputs=tuple(leave if edge == nodes[end - 1].name else edge
                                        for edge in node.inputs)) for node in nodes[end:]]
    return replace(graph, nodes=(
        *nodes[:best.first], Node(entry, back, head.inputs), *body,
        Node(leave, LoopExit(entry, best.turns), (last.name,)), *after))


@dataclass(frozen=True)
class _Run:
    """A block of `length` layers from node `first` on, which is there `turns` times."""

    first: int
    length: int
    turns: int
    bits: int
    """Of a frame that enters."""
    layers: tuple[Layer, ...]
    """Of the block, with the parameters of all turns."""

    @property
    def saved(self) -> int:
        """Layers that need no hardware of their own."""
        return self.length * (self.turns - 1)


def _run(graph: Graph, types: dict[str, Tensor], first: int, length: int) -> _Run:
    """Return how often, and as what, a block of layers repeats."""
    blocks = [graph.nodes[k:k + length]
              for k in range(first, len(graph.nodes) - length + 1, length)]
    layers = tuple(node.layer for node in blocks[0])
    turns, x = 1, types[graph.nodes[first].inputs[0]]
    bits = x.size * x.element.width
    # what goes around is requantized: else its range would grow from turn to turn
    if x.shape != types[blocks[0][-1].name].shape or not isinstance(layers[-1], Requantize):
        return _Run(first, length, 1, bits, layers)
    while turns < len(blocks):
        rows = list(zip(*blocks[:turns + 1], strict=True))
        joined = [_joined(row, types) for row in rows]
        chain = graph.nodes[first:first + length * (turns + 1)]
        if not _is_chain(graph, chain) or any(layer is None for layer in joined):
            break
        layers = tuple(layer for layer in joined if layer is not None)
        turns += 1
    return _Run(first, length, turns, bits, layers)


def _is_chain(graph: Graph, nodes: Sequence[Node]) -> bool:
    """Return whether each node reads the one before, and no other does."""
    return len(nodes[0].inputs) == 1 and all(
        node.inputs == (before.name,) and len(graph.consumers(before.name)) == 1
        for before, node in pairwise(nodes))


def _joined(row: Sequence[Node], types: dict[str, Tensor]) -> Layer | None:
    """Return a layer that computes each of `row` in turn; None if there is none."""
    first, layers, turns = row[0].layer, [node.layer for node in row], len(row)
    (x, *others) = [types[node.inputs[0]] for node in row]
    if any(type(layer) is not type(first) for layer in layers) or any(
            other.shape != x.shape for other in others):
        return None
    if isinstance(first, Window):
        return first if all(layer == first for layer in layers) else None
    if isinstance(first, Requantize):
        specs = [layer.spec for layer in layers if isinstance(layer, Requantize)]
        if any(type(spec) is not type(specs[0]) for spec in specs) or isinstance(specs[0], Table):
            return None # a table is for the accumulators of one layer
        spec = specs[0].join(specs, x.channels)
        return None if spec is None else Requantize(spec, turns)
    weighted = [layer for layer in layers if isinstance(layer, Dense | Depthwise)]
    if not weighted or any(layer.only or layer.weights.shape != weighted[0].weights.shape
                           or getattr(layer, "patches", None) != getattr(first, "patches", None)
                           for layer in weighted):
        return None
    return weighted[0].with_fields(
        weights=np.concatenate([layer.weights for layer in weighted]),
        bias=np.concatenate([layer.bias for layer in weighted]), turns=turns)
