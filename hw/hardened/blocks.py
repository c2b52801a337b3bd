"""Large matrices in blocks of columns: a graph for each, and one for the sums of what they give."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.hardened.graph import ZERO, Add, Graph
from bittern.hw.hardened.space import digits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bittern.hw.hardened.graph import Range
    from bittern.hw.ints import Ints

__all__ = ["blocks_of", "joined"]

DIGITS = 16_000
"""Signed digits of a block: the search counts pairs of those in a row, of which there are many more
in wider blocks, and few that several rows have."""


def blocks_of(matrix: Ints, least: int = 1) -> list[slice]:
    """Return `least` blocks of columns with about as many digits each, more of a large matrix."""
    digits = np.append(0, digits_of(matrix).sum(axis=0).cumsum())
    count = max(-(-int(digits[-1]) // DIGITS), least)
    ends = np.searchsorted(digits, digits[-1] * np.arange(1, count) / count).tolist()
    ends = sorted({*ends, 0, matrix.shape[1]})
    return [slice(a, b) for a, b in pairwise(ends)]


def joined(parts: Sequence[Graph], add_up: Callable[[Ints, Sequence[Range]], Graph]) -> Graph:
    """Return the graph of sums of the results of `parts`, one of each, which have no constants.

    `add_up` returns the graph of a matrix times inputs.
    """
    results = [sorted({node for node, _ in part.outputs if node != ZERO}) for part in parts]
    weights = [[(n == node) << shift for n, shift in part.outputs]
               for part, nodes in zip(parts, results, strict=True) for node in nodes]
    sums = add_up(np.array(weights, np.int64).reshape(-1, len(parts[0].outputs)).T,
                  [part.ranges[node] for part, nodes in zip(parts, results, strict=True)
                   for node in nodes])
    inputs = [ends for part in parts for ends in part.inputs]
    constants = list(sums.inputs[sums.operands:])
    adds: list[Add] = []
    nodes: list[int] = []
    """What is added up, as nodes of the whole graph."""

    def place(graph: Graph, given: list[int]) -> dict[int, int]:
        """Add the adders of a graph, and return where its nodes are."""
        first = len(inputs) + len(constants) + len(adds)
        at = dict(enumerate([*given, *range(first, first + len(graph.adds))])) | {ZERO: ZERO}
        adds.extend(replace(add, a=at[add.a], b=at[add.b]) for add in graph.adds)
        return at

    begin = 0
    for part, own in zip(parts, results, strict=True):
        at = place(part, [*range(begin, begin + len(part.inputs))])
        nodes += [at[node] for node in own]
        begin += len(part.inputs)
    at = place(sums, [*nodes, *range(begin, begin + len(constants))])
    return Graph((*inputs, *constants), tuple(adds),
                 tuple((at[node], shift) for node, shift in sums.outputs), len(constants),
                 sums.inverted)
