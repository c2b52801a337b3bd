"""Pass: divide weights by what all of them are multiples of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bittern.gen.ir import Graph
from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.weighted import Weighted
from bittern.hw.thresholds import Thresholds

__all__ = ["strip_common_factor"]


def strip_common_factor(graph: Graph) -> Graph:
    """Divide weights by their greatest common divisor where thresholds follow.

    Accumulators become ``g * acc + r`` with the remainder r of each bias, so a threshold T becomes
    ``ceil((T - r) / g)``. Bipolar activations, which are bits here, double the weights behind them.
    """
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        after = graph.consumers(node.name)
        if not isinstance(node.layer, Weighted) or not after:
            continue
        outputs = len(node.layer.bias)
        if not all(isinstance(n.layer, Requantize) and isinstance(n.layer.spec, Thresholds)
                   and n.layer.spec.channels in (1, outputs) for n in after):
            continue
        g = int(np.gcd.reduce(node.layer.weights, axis=None))
        if g < 2:
            continue
        quotient, rest = np.divmod(node.layer.bias, g)
        nodes[node.name] = replace(node, layer=node.layer.with_fields(
            weights=node.layer.weights // g, bias=quotient))
        for n in after:
            spec = n.layer.spec # type: ignore[attr-defined]
            values = -((rest[:, None] - spec.values) // g)
            nodes[n.name] = replace(n, layer=Requantize(Thresholds(values, spec.lo)))
    return replace(graph, nodes=tuple(nodes.values()))
