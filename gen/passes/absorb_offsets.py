"""Pass: let a layer's bias do what its requantization adds or takes off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.layers.requantize import Requantize
from bittern.gen.layers.weighted import Weighted
from bittern.hw.quotient import Quotient
from bittern.hw.scale import Scale
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from bittern.gen.ir import Graph
    from bittern.hw.ints import Ints
    from bittern.hw.requant import Requant

__all__ = ["absorb_offsets"]


def absorb_offsets(graph: Graph) -> Graph:
    """Move what differs by channel, and is only added, from a requantization into the bias before.

    A single threshold then is zero, that is the sign, for all channels.
    """
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        after = graph.consumers(node.name)
        if not isinstance(node.layer, Weighted) or len(after) != 1:
            continue
        (consumer,) = after
        if (isinstance(consumer.layer, Requantize)
                and consumer.layer.spec.channels in (1, len(node.layer.bias))
                and (found := _split(consumer.layer.spec))):
            offset, spec = found
            nodes[node.name] = replace(node, layer=node.layer.with_fields(
                bias=node.layer.bias + offset))
            nodes[consumer.name] = replace(consumer, layer=Requantize(spec))
    return replace(graph, nodes=tuple(nodes.values()))


def _split(spec: Requant) -> tuple[Ints, Requant] | None:
    """Return what to add to accumulators, and the function of that, as far as it adds nothing."""
    if isinstance(spec, Thresholds):
        first = spec.values[:, :1]
        rest = spec.values - first
        if spec.values.shape[1] and (rest == rest[0]).all():
            return -first[:, 0], Thresholds(rest[:1], spec.lo)
    if isinstance(spec, Scale) and not spec.multiplies:
        return spec.bias, replace(spec, multiplier=np.ones(1, dtype=np.int64),
                                  bias=np.zeros(1, dtype=np.int64))
    if isinstance(spec, Quotient) and spec.adds and not spec.is_kinked:
        whole = spec.bias >> spec.shift
        return whole[:, 0], replace(spec, bias=spec.bias - (whole << spec.shift))
    return None
