"""From a network to the plan of its hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Tensor, compile_graph
from bittern.gen.passes import PIPELINE
from bittern.gen.plan import make_plan

if TYPE_CHECKING:
    from bittern.gen.cost import Target
    from bittern.gen.ir import Graph
    from bittern.gen.network import Network
    from bittern.gen.plan import Plan
    from bittern.hw.ints import Ints

__all__ = ["compile_network", "optimize", "probe"]

SEED = 1
FRAMES = 64


def compile_network(network: Network, target: Target, fps: float | None = None) -> Plan:
    """Return the plan of `network` on `target`; `fps` is as in :func:`~bittern.gen.plan.make_plan`.

    Raises
    ------
    ValueError
        If the target is too small, or `fps` out of reach.
    """
    return make_plan(optimize(network.graph), target, fps)


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
