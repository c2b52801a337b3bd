"""From a network to the plan of its hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Tensor, compile_graph
from bittern.gen.layers.dense import Dense
from bittern.gen.layers.multiply import Multiply
from bittern.gen.layers.weighted import Weighted
from bittern.gen.passes import PIPELINE
from bittern.gen.roll import rolled
from bittern.gen.search import best_plan
from bittern.gen.tabulate import tabulated
from bittern.gen.units import EFFORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bittern.gen.cost import Target
    from bittern.gen.ir import Graph, Layer
    from bittern.gen.network import Network
    from bittern.gen.plan import Plan
    from bittern.hw.ints import Ints

__all__ = ["compile_network", "optimize", "probe", "specialize", "with_formats"]

SEED = 1
FRAMES = 64


def compile_network(network: Network, target: Target, fps: float | None = None,
                    formats: Mapping[str, str] | None = None, effort: int = EFFORT) -> Plan:
    """Return the plan of `network` on `target`.

    Parameters
    ----------
    fps : float | None
        As in :func:`~bittern.gen.search.make_plan`.
    formats : mapping
        Names of layers, and of the formats to store their weights in: else what suits best.
        ``*`` stands for all layers whose weights the format holds.
    effort : int
        Steps of the search for the adders of a layer whose weights are wiring.

    Raises
    ------
    ValueError
        If the target is too small, `fps` out of reach, or a format does not hold the weights.
    """
    graph = specialize(with_formats(optimize(network.graph), formats or {}), target, effort)
    found = [compile_graph(graph, [rewrite], probe(graph.input)) for rewrite in (tabulated, rolled)]
    return best_plan([graph, *(other for other in found if other is not graph)], target, fps)


def specialize(graph: Graph, target: Target, effort: int = EFFORT) -> Graph:
    """Return `graph` with layers that make use of what the device of `target` can do."""
    def specialized(layer: Layer) -> Layer:
        if isinstance(layer, Multiply):
            return replace(layer, absorbs=target.absorbs)
        if isinstance(layer, Dense):
            return replace(layer, absorbs=target.absorbs, effort=effort)
        return (layer.with_fields(absorbs=target.absorbs) if isinstance(layer, Weighted)
                else layer)

    return replace(graph, nodes=tuple(replace(node, layer=specialized(node.layer))
                                      for node in graph.nodes))


def with_formats(graph: Graph, formats: Mapping[str, str]) -> Graph:
    """Return `graph` with the weights of layers in given formats."""
    weighted = {node.name: node.layer for node in graph.nodes if isinstance(node.layer, Weighted)}
    if "*" in formats:
        every = formats["*"]
        held = {name: every for name, layer in weighted.items() if every in layer.forms}
        if not held:
            raise ValueError(f"format {every!r} holds the weights of no layer; there are: "
                             f"{', '.join(weighted) or 'none'}")
        formats = held | {name: only for name, only in formats.items() if name != "*"}
    if unknown := [name for name in formats if name not in weighted]:
        raise ValueError(f"there is no layer {unknown[0]!r} with weights; there are: "
                         f"{', '.join(weighted) or 'none'}")
    layers: dict[str, Layer] = {node.name: node.layer for node in graph.nodes}
    for name, only in formats.items():
        try:
            weighted[name].check_format(only)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
        layers[name] = weighted[name].with_fields(only=only)
    return replace(graph, nodes=tuple(replace(node, layer=layers[node.name])
                                      for node in graph.nodes))


def optimize(graph: Graph) -> Graph:
    """Return `graph` after all passes, each of which kept the outputs of a probe."""
    return compile_graph(graph, PIPELINE, probe(graph.input))


def probe(tensor: Tensor) -> Ints:
    """Return frames of `tensor`: all lowest, all highest, both mixed, and random ones."""
    rng = np.random.default_rng(SEED)
    shape = (FRAMES, *tensor.shape)
    corners = np.where(rng.integers(0, 2, shape), tensor.hi, tensor.lo)
    corners[0], corners[1] = tensor.lo, tensor.hi
    between = rng.integers(tensor.lo, tensor.hi, shape, endpoint=True)
    return np.concatenate([corners, between])
