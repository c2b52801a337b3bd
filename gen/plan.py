"""Plan: which fold each layer has, and the cells and connections that follow from that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import gcd
from typing import TYPE_CHECKING, cast

from amaranth.lib import data

from bittern.gen.cost import Cost, Estimate, Target, sprams
from bittern.gen.ir import INPUT, Fold, Graph, Layer, Tensor
from bittern.gen.layers.loop import LoopExit
from bittern.gen.layers.weighted import Weighted
from bittern.gen.port import Port
from bittern.gen.timing import Cell, Source, Split, Steps, Store, Switch, Timing, simulate
from bittern.hw.stream import Fork, Narrow, Queue, Widen, transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amaranth.lib import wiring

    from bittern.hw.folded_sums import FoldedSums

__all__ = ["FULL", "MOST", "Placed", "Plan", "route"]

FRAMES, SETTLED = 3, 1000
"""Frames, or else cycles, that are simulated: a design is in its steady state by then."""
WAITS = 4
"""Part of a frame that waits in a queue, before that is known."""
SLACKS = (0, 1, 2, 4, 8)
"""By how much deeper a queue may be: full ones are emptied and filled a cycle apart."""
HOP_NS = 4
"""What a signal ``ready`` takes to pass a cell, wires included, on an ECP5."""
FULL, MOST = 0.75, 0.9
"""Shares of a device's LUTs and flip-flops that a plan fills: fuller ones than the first route
slowly, and to slow clocks; than the second, hardly."""


@dataclass(frozen=True)
class Placed:
    """A cell of the design, with what is known of it before it is made.

    Parameters
    ----------
    name : str
        Unique; that of the layer, or of the edge it stands on and what it does there.
    layer : str
        The layer that the cell counts to in reports.
    make : callable
        Returns the component.
    promised : Steps | Store | Split | Switch, or a function that returns it
        Its timing; None for wires.
    cycles : int
        For a frame, if nothing stops it; 0 where others decide that.
    sources : tuple[int, ...]
        What each input reads.
    cost : Cost
    cuts : bool
        Whether no path of gates leads from ``ready`` of its output to that of its inputs.
    """

    name: str
    layer: str
    make: Callable[[], wiring.Component]
    promised: Steps | Store | Split | Callable[[], Steps | Switch | None]
    cycles: int
    sources: tuple[Source, ...]
    cost: Cost
    cuts: bool = False

    @cached_property
    def promise(self) -> Steps | Store | Split | Switch | None:
        """Its timing: what takes long to find is found only for what is built."""
        return self.promised() if callable(self.promised) else self.promised


@dataclass(frozen=True, eq=False)
class Plan:
    """A graph, the fold of each of its layers, and what they are for."""

    graph: Graph
    folds: dict[str, Fold]
    target: Target
    block_luts: Mapping[str, float] = field(default_factory=dict)
    """What a block of memory is worth in some layers, if not what it is in `target`."""

    def target_of(self, layer: str) -> Target:
        """Return what a layer, or what stands on an edge, may use."""
        return replace(self.target,
                       block_luts=self.block_luts.get(layer, self.target.block_luts))

    @cached_property
    def types(self) -> dict[str, Tensor]:
        """Type of every edge."""
        return self.graph.types()

    @cached_property
    def input(self) -> Port:
        """How the input travels: as the first layer takes it."""
        return _port(self.types[INPUT], self._lanes_of(INPUT))

    @cached_property
    def output(self) -> Port:
        """How the output travels: as the last layer gives it."""
        return _port(self.types[self.graph.output], self._lanes_of(self.graph.output))

    def _lanes_of(self, edge: str) -> int:
        if edge != INPUT:
            return self.folds[edge].pe
        consumers = self.graph.consumers(INPUT)
        return self.folds[consumers[0].name].simd if consumers else 1

    @property
    def cells(self) -> list[Placed]:
        """All cells in topological order; the last one drives the output."""
        return self._timed[0]

    @property
    def timing(self) -> Timing:
        """Cycles between frames and through the design, exactly as the hardware has them."""
        return self._timed[1]

    @cached_property
    def _timed(self) -> tuple[list[Placed], Timing]:
        endless = self.draft
        if not any(cell.promised == Store(0) for cell in endless):
            return endless, self._simulate(endless)
        # A queue as deep as it ever was when it had no end holds nothing up, under stalls neither:
        # what a layer must have taken to give its first transfer does not depend on time. Frames
        # come as fast as the slowest cell takes them: faster, the queues would just fill.
        slowest = self.steps
        levels = self._simulate(endless, pace=slowest).levels
        found = []
        for slack in SLACKS:
            cells = self._layout({cell.name: max(level + slack, 2)
                                  for cell, level in zip(endless, levels, strict=True)})
            found.append((cells, self._simulate(cells)))
            if found[-1][1].interval <= slowest:
                break
        return min(found, key=lambda pair: pair[1].interval)

    @cached_property
    def draft(self) -> list[Placed]:
        """The cells, before it is known how deep queues must be."""
        return self._layout({})

    def _simulate(self, cells: list[Placed], *, pace: int = 0) -> Timing:
        frames = max(FRAMES, transfers(SETTLED, _slowest(cells)))
        return _timing(cells, self.input.transfers, self.output.transfers, frames=frames, pace=pace)

    @property
    def _passable(self) -> int:
        """How many cells a ready signal may pass in a clock; behind the last one is a queue."""
        return max(int(1000 / self.target.clock_mhz / HOP_NS) - 1, 1)

    def _layout(self, depths: dict[str, int]) -> list[Placed]:
        """Return the cells; queues before layers of several inputs have the depth in `depths`."""
        cells: list[Placed] = []
        drivers: dict[str, list[Source]] = {}
        passed = {-1: 0}
        """Cells between each and the last one that cuts paths of ready signals."""

        def add(cell: Placed, *sources: Source) -> Source:
            passed[len(cells)] = 0 if cell.cuts else (
                max(passed[source.cell] for source in sources) + (cell.cost != Cost()))
            cells.append(replace(cell, sources=sources))
            return Source(len(cells) - 1)

        def publish(edge: str, source: Source) -> None:
            readers = sum(node.inputs.count(edge) for node in self.graph.nodes)
            drivers[edge] = [source]
            if readers > 1:
                at = add(_fork(edge, self.types[edge], self._lanes_of(edge), readers), source).cell
                drivers[edge] = [Source(at, k) for k in reversed(range(readers))]

        publish(INPUT, Source(-1))
        at: dict[str, int] = {}
        """Cells of nodes."""
        for node in self.graph.nodes:
            xs, fold = [self.types[i] for i in node.inputs], self.folds[node.name]
            joins = len(node.inputs) > 1
            sources = []
            for k, edge in enumerate(node.inputs):
                source = drivers[edge].pop()
                name = f"{node.name}_{k}" if joins else node.name
                for cell in route(name, node.name, xs[k], self._lanes_of(edge), fold.simd):
                    source = add(cell, source)
                if joins:
                    queue = _queue(name, node.name, xs[k], fold.simd, 0)
                    depth = depths.get(queue.name, 0)
                    source = add(_queue(name, node.name, xs[k], fold.simd, depth), source)
                    if self._passable == 1: # a block of memory takes half a clock to be read
                        source = add(_queue(f"{name}_front", node.name, xs[k], fold.simd, 2),
                                     source)
                sources.append(source)
            before, cuts = max(passed[source.cell] for source in sources), node.layer.cuts
            if before + 1 >= self._passable and (
                    other := node.layer.without_ready_path(fold, *xs)):
                fold, cuts = other, True
            source = add(Placed(
                node.name, node.name, partial(node.layer.build, fold, *xs),
                partial(_promise, node.layer, fold, xs), node.layer.cycles(fold, *xs), (),
                node.layer.cost(fold, *xs), cuts), *sources)
            at[node.name] = source.cell
            if isinstance(node.layer, LoopExit):
                back = source
                for cell in self._way_back(node.layer.entry, node.name, xs[0]):
                    back = add(cell, back)
                first = cells[at[node.layer.entry]]
                cells[at[node.layer.entry]] = replace(first, sources=(*first.sources, back))
                source = Source(source.cell, 1)
            depth = node.layer.at_once(fold, *xs)
            ends = node.name == self.graph.output and isinstance(node.layer, LoopExit)
            if passed[source.cell] >= self._passable or ends: # the last cell drives the output
                depth = max(depth, 2)
            if depth > 1:
                source = add(_queue(f"{node.name}_o", node.name, self.types[node.name], fold.pe,
                                    depth), source)
            publish(node.name, source)
        return cells

    def _way_back(self, entry: str, end: str, x: Tensor) -> list[Placed]:
        """Return the cells from the end of a loop to its entry."""
        name, fold = f"{entry}_back", self.folds[end]
        # A queue of one port is written in every second cycle at the most.
        lanes = fold.pe * (2 if fold.spram else 1)
        # A queue for a whole frame is never full: nothing waits for what waits for it.
        depth = max(x.size // lanes, 2)
        return [*route(f"{name}_pair", end, x, fold.pe, lanes),
                _queue(name, end, x, lanes, depth, spram=fold.spram),
                *route(f"{name}_each", end, x, lanes, fold.pe),
                *route(name, end, x, fold.pe, self.folds[entry].pe)]

    @cached_property
    def images(self) -> dict[str, bytes]:
        """What fills memories at start, by the cells it is for and in the order it comes."""
        able = {node.name for node in self.graph.nodes
                if isinstance(node.layer, Weighted) and self.folds[node.name].spram}
        units = {cell.name: cast("FoldedSums", cell.make())
                 for cell in self.cells if cell.name in able}
        return {name: unit.image for name, unit in units.items() if unit.loads}

    @property
    def load(self) -> bytes:
        """All of `images`."""
        return b"".join(self.images.values())

    @cached_property
    def estimate(self) -> Estimate:
        """As `cost`, before it is known how deep queues must be."""
        return self._estimate(self.draft)

    @cached_property
    def cost(self) -> Estimate:
        """Estimated resources of all cells."""
        return self._estimate(self.cells)

    def _estimate(self, cells: list[Placed]) -> Estimate:
        return Estimate.sum_of(cell.cost.on(self.target_of(cell.layer)) for cell in cells)

    @property
    def fits(self) -> bool:
        """Whether it is estimated to fill no more of the target than can be routed well."""
        return self.fits_in(FULL)

    def fits_in(self, share: float) -> bool:
        """Return whether it is estimated to fill no more of LUTs and flip-flops than a share."""
        needs, target = self.estimate, self.target
        return (needs.lut4 <= share * target.lut4 and needs.ff <= share * target.ff
                and needs.bram <= target.bram and needs.dsp <= target.dsp
                and needs.spram <= target.spram
                and needs.port <= target.dsp_width)

    @cached_property
    def steps(self) -> int:
        """Cycles of the slowest cell for a frame: the interval between frames.

        Where there is a loop, a frame waits before it until the one before is in its last turn.
        """
        cells, turns, passages = self.draft, self.graph.turns, self.graph.passages()
        if turns == 1:
            return _slowest(cells)
        inside = [k for k, cell in enumerate(cells) if passages.get(cell.layer, 1) > 1]
        first, end = inside[0], inside[-1] + 1
        slowest = _slowest(cells[first:end])
        return (max(slowest, _slowest(cells[:first])) + (turns - 2) * slowest
                + max(slowest, _slowest(cells[end:])))


def _promise(layer: Layer, fold: Fold, xs: Sequence[Tensor]) -> Steps | Switch | None:
    timing = layer.timing(fold, *xs)
    return timing if isinstance(timing, Switch) or timing.latency else None


def _slowest(cells: list[Placed]) -> int:
    return max((cell.cycles for cell in cells), default=0)


def _port(tensor: Tensor, count: int) -> Port:
    return Port(tensor.channels, count, tensor.element.width, tensor.element.signed,
                tensor.vectors)


def route(name: str, layer: str, tensor: Tensor, wide: int, needed: int) -> Iterator[Placed]:
    """Yield the cells that turn transfers of `wide` elements into transfers of `needed`."""
    element, size = tensor.element, tensor.channels
    least = gcd(wide, needed)
    if wide != least:
        parts = wide // least
        sent, held = transfers(size, least), wide * element.width
        counts = [min(parts, sent - k) for k in range(0, sent, parts)]
        takes = tuple(k == 0 for n in counts for k in range(n + 1))
        gives = tuple(k < n for n in counts for k in range(n + 1))
        yield Placed(f"{name}_narrow", layer,
                     partial(Narrow, element, size, wide=wide, narrow=least),
                     Steps(takes, gives, 1), len(takes) * tensor.vectors, (),
                     Cost(held + 10, held), cuts=True)
    if needed != least:
        parts = needed // least
        taken, held = transfers(size, least), needed * element.width
        gives = tuple(k % parts == parts - 1 or k == taken - 1 for k in range(taken))
        yield Placed(f"{name}_widen", layer,
                     partial(Widen, element, size, narrow=least, wide=needed),
                     Steps((True,) * taken, gives, 1), taken * tensor.vectors, (),
                     Cost(10 + (2 * parts if taken % parts else 0), held, bare=held))


def _queue(name: str, layer: str, tensor: Tensor, count: int, depth: int, *,
           spram: bool = False) -> Placed:
    """Return a queue for transfers of `count` elements; depth 0 is without an end."""
    bits = count * tensor.element.width
    words = depth or transfers(tensor.vectors * transfers(tensor.channels, count), WAITS)
    cost = (Cost(bits + 4, 2 * bits + 2, bare=bits) if depth == 2 else
            Cost(60, 40, spram=sprams(words, bits)) if spram else Cost(30, 30, ((words, bits),)))
    return Placed(f"{name}_queue", layer,
                  partial(Queue, data.ArrayLayout(tensor.element, count), depth, one_port=spram),
                  Store(depth), 0, (), cost, cuts=True)


def _fork(edge: str, tensor: Tensor, count: int, readers: int) -> Placed:
    return Placed(f"{edge}_fork", edge,
                  partial(Fork, data.ArrayLayout(tensor.element, count), readers), Split(readers),
                  0, (), Cost(3 * readers, readers))


def _timing(cells: Sequence[Placed], transfers_in: int, transfers_out: int, *, frames: int,
            pace: int) -> Timing:
    """Simulate `cells`; those that are wires have the levels 0."""
    at = {Source(-1): Source(-1)}
    index: dict[int, int] = {}
    for k, cell in enumerate(cells):
        if cell.promise is None:
            (source,) = cell.sources
            at[Source(k)] = at[source]
            continue
        match cell.promise:
            case Split(outputs):
                pass
            case Switch(counts):
                outputs = len(counts)
            case _:
                outputs = 1
        for output in range(outputs):
            at[Source(k, output)] = Source(len(index), output)
        index[k] = len(index)
    kept = [Cell(cell.promise, tuple(at[s] for s in cell.sources)) for cell in cells
            if cell.promise is not None]
    timing = simulate(kept, [transfers_in], transfers_out, frames=frames, pace=pace)
    levels = tuple(timing.levels[index[k]] if k in index else 0 for k in range(len(cells)))
    return replace(timing, levels=levels)
