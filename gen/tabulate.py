"""Dense layers and what requantizes them, as truth tables, where neurons have few input bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Node
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.neurons import Neurons
from bittern.gen.layers.requantize import Requantize
from bittern.hw.truth_tables import TruthTable, codes_of, fill

if TYPE_CHECKING:
    from bittern.gen.ir import Graph, Tensor
    from bittern.hw.ints import Ints

__all__ = ["tabulated"]

BITS = 10
"""Of a code: a function of so many takes up to 64 LUTs for each bit of its result."""
SEEN = 16
"""Bits of the layer before from which it is found out which codes there are."""


def tabulated(graph: Graph) -> Graph:
    """Return `graph` with layers of truth tables wherever they can be.

    A truth table is made for what its inputs can be: within their range, and of a layer of truth
    tables before it what that can give at once.
    """
    types = graph.types()
    nodes = {node.name: node for node in graph.nodes}
    found: dict[str, Neurons] = {}
    sums: set[str] = set()
    for node in graph.nodes:
        dense = nodes.get(node.inputs[0])
        if dense is None or not isinstance(node.layer, Requantize) or not isinstance(
                dense.layer, Dense) or dense.layer.only or len(graph.consumers(dense.name)) > 1:
            continue
        (edge,) = dense.inputs
        before = None
        if edge in found:
            (first,) = nodes[nodes[edge].inputs[0]].inputs
            before = found[edge], types[first]
        neurons = _neurons(dense.layer, node.layer, types[edge], types[dense.name], before)
        if neurons is not None:
            found[node.name] = neurons
            sums.add(dense.name)
    if not found:
        return graph
    return replace(graph, nodes=tuple(
        Node(node.name, found[node.name], nodes[node.inputs[0]].inputs)
        if node.name in found else node for node in graph.nodes if node.name not in sums))


def _neurons(dense: Dense, requantize: Requantize, x: Tensor, sums: Tensor,
             before: tuple[Neurons, Tensor] | None) -> Neurons | None:
    """Return the neurons of a layer as truth tables, unless some have too many input bits.

    `before` is what gives its inputs, and what that reads.
    """
    width, outputs = x.element.width, len(dense.weights)
    sources = [np.flatnonzero(row) for row in dense.weights]
    if max(map(len, sources)) * width > BITS or requantize.spec.channels not in (1, outputs):
        return None
    y = requantize.infer(sums)
    tables = []
    for k, source in enumerate(sources):
        inputs = _decoded(width, len(source), x)
        known = np.all((x.lo <= inputs) & (inputs <= x.hi), axis=1)
        if before is not None:
            known &= _given(*before, source, width)
        values = np.zeros(len(inputs), np.int64)
        totals = inputs[known] @ dense.weights[k, source] + dense.bias[k]
        values[known] = requantize.spec(np.repeat(totals[:, None], outputs, axis=1))[:, k]
        tables.append(TruthTable(tuple(source.tolist()), width, fill(values, known, y.element)))
    return Neurons(tuple(tables), x.channels, width, y.lo, y.hi)


def _decoded(width: int, count: int, x: Tensor) -> Ints:
    """Return the integers of all codes of `count` inputs, ``(codes, count)``."""
    codes = np.arange(1 << width * count)[:, None]
    values: Ints = codes >> width * np.arange(count) & ((1 << width) - 1)
    return values - (values >> (width - 1) << width) if x.lo < 0 else values


def _given(before: Neurons, x: Tensor, source: Ints, width: int) -> np.ndarray:
    """Return which codes of outputs `source` of a layer that reads `x` can be."""
    tables = [before.tables[k] for k in source]
    cone = sorted({n for table in tables for n in table.sources})
    given = np.ones(1 << width * len(source), bool)
    if len(cone) * before.width > SEEN:
        return given
    inputs = _decoded(before.width, len(cone), x)
    inputs = inputs[((x.lo <= inputs) & (inputs <= x.hi)).all(axis=1)]
    at = {n: k for k, n in enumerate(cone)}
    outputs = [table.values[codes_of(inputs[:, [at[n] for n in table.sources]], before.width)]
               for table in tables]
    given[:] = False
    given[codes_of(np.stack(outputs, axis=-1), width)] = True
    return given
