"""Plan: which fold each layer has, and the cells and connections that follow from that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from math import gcd
from typing import TYPE_CHECKING

from amaranth.lib import data

from bittern.gen.cost import Cost, Target
from bittern.gen.ir import INPUT, Fold, Graph, Node, Tensor
from bittern.gen.layers.weighted import Weighted
from bittern.gen.port import Port
from bittern.gen.timing import Cell, Source, Split, Steps, Store, Timing, simulate
from bittern.hw.stream import Fork, Narrow, Queue, Widen, transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amaranth.lib import wiring

    from bittern.gen.layers.weighted import Form

__all__ = ["Choice", "Placed", "Plan", "choices", "fits", "fold_to", "make_plan"]

HASTE = 4
"""How many times faster than it needs to be a layer may be."""
BLOCK = 0.3
"""Weight of a block of memory, in the LUTs that a device has for each."""
DSP = 0.1
"""Weight of a multiplier, in the LUTs that a device has for each."""
RAISE, HALVINGS = 256, 4
"""How much dearer what is scarce becomes, at most, and how closely its price is found."""
SLOW = 1e9
"""Weight of cells between layers that are too slow: more than any hardware."""

FRAMES, SETTLED = 3, 1000
"""Frames, or else cycles, that are simulated: a design is in its steady state by then."""
FULL = 0.75
"""Share of a device's LUTs that a plan fills: fuller ones route slowly, and to slow clocks."""


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
    promise : Steps | Store | Split | None
        Its timing; None for wires.
    cycles : int
        For a frame, if nothing stops it; 0 where others decide that.
    sources : tuple[int, ...]
        What each input reads.
    cost : Cost
    """

    name: str
    layer: str
    make: Callable[[], wiring.Component]
    promise: Steps | Store | Split | None
    cycles: int
    sources: tuple[Source, ...]
    cost: Cost


@dataclass(frozen=True, eq=False)
class Plan:
    """A graph, and the fold of each of its layers."""

    graph: Graph
    folds: dict[str, Fold]

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

    @cached_property
    def cells(self) -> list[Placed]:
        """All cells in topological order; the last one drives the output."""
        endless = self._layout({})
        if not any(cell.promise == Store(0) for cell in endless):
            return endless
        # A queue as deep as it ever was when it had no end holds nothing up, under stalls neither:
        # what a layer must have taken to give its first transfer does not depend on time. Frames
        # come as fast as the slowest cell takes them: faster, the queues would just fill.
        levels = self._simulate(endless, pace=_slowest(endless)).levels
        return self._layout({cell.name: max(level, 2)
                             for cell, level in zip(endless, levels, strict=True)})

    def _simulate(self, cells: list[Placed], *, pace: int = 0) -> Timing:
        frames = max(FRAMES, transfers(SETTLED, _slowest(cells)))
        return _timing(cells, self.input.transfers, self.output.transfers, frames=frames, pace=pace)

    @cached_property
    def timing(self) -> Timing:
        """Cycles between frames and through the design, exactly as the hardware has them."""
        return self._simulate(self.cells)

    def _layout(self, depths: dict[str, int]) -> list[Placed]:
        """Return the cells; queues before layers of several inputs have the depth in `depths`."""
        cells: list[Placed] = []
        drivers: dict[str, list[Source]] = {}

        def add(cell: Placed, *sources: Source) -> Source:
            cells.append(replace(cell, sources=sources))
            return Source(len(cells) - 1)

        def publish(edge: str, source: Source) -> None:
            readers = sum(node.inputs.count(edge) for node in self.graph.nodes)
            drivers[edge] = [source]
            if readers > 1:
                at = add(_fork(edge, self.types[edge], self._lanes_of(edge), readers), source).cell
                drivers[edge] = [Source(at, k) for k in reversed(range(readers))]

        publish(INPUT, Source(-1))
        for node in self.graph.nodes:
            xs, fold = [self.types[i] for i in node.inputs], self.folds[node.name]
            joins = len(node.inputs) > 1
            sources = []
            for k, edge in enumerate(node.inputs):
                source = drivers[edge].pop()
                name = f"{node.name}_{k}" if joins else node.name
                for cell in _route(name, node.name, xs[k], self._lanes_of(edge), fold.simd):
                    source = add(cell, source)
                if joins:
                    queue = _queue(name, node.name, xs[k], fold.simd, 0)
                    depth = depths.get(queue.name, 0)
                    source = add(_queue(name, node.name, xs[k], fold.simd, depth), source)
                sources.append(source)
            timing = node.layer.timing(fold, *xs)
            publish(node.name, add(Placed(
                node.name, node.name, partial(node.layer.build, fold, *xs),
                timing if timing.latency else None, node.layer.cycles(fold, *xs), (),
                node.layer.cost(fold, *xs)), *sources))
        return cells

    @cached_property
    def cost(self) -> Cost:
        """Estimated resources of all cells."""
        return sum((cell.cost for cell in self.cells), Cost())

    @cached_property
    def steps(self) -> int:
        """Cycles of the slowest cell for a frame: the interval between frames."""
        return _slowest(self.cells)


def _slowest(cells: list[Placed]) -> int:
    return max(cell.cycles for cell in cells)


def _port(tensor: Tensor, count: int) -> Port:
    return Port(tensor.channels, count, tensor.element.width, tensor.element.signed,
                tensor.vectors)


def _route(name: str, layer: str, tensor: Tensor, wide: int, needed: int) -> Iterator[Placed]:
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
                     Cost(held + 10, held))
    if needed != least:
        parts = needed // least
        taken, held = transfers(size, least), needed * element.width
        gives = tuple(k % parts == parts - 1 or k == taken - 1 for k in range(taken))
        yield Placed(f"{name}_widen", layer,
                     partial(Widen, element, size, narrow=least, wide=needed),
                     Steps((True,) * taken, gives, 1), taken * tensor.vectors, (),
                     Cost(10 + (2 * parts if taken % parts else 0), held, bare=held))


def _queue(name: str, layer: str, tensor: Tensor, count: int, depth: int) -> Placed:
    """Return a queue for transfers of `count` elements; depth 0 is without an end."""
    bits = count * tensor.element.width
    cost = Cost(bits + 4, 2 * bits + 2, bare=bits) if depth == 2 else Cost(30, 30, ((depth, bits),))
    return Placed(f"{name}_queue", layer,
                  partial(Queue, data.ArrayLayout(tensor.element, count), depth), Store(depth), 0,
                  (), cost)


def _fork(edge: str, tensor: Tensor, count: int, readers: int) -> Placed:
    return Placed(f"{edge}_fork", edge,
                  partial(Fork, data.ArrayLayout(tensor.element, count), readers), Split(readers),
                  0, (), Cost(3 * readers, readers))


def _timing(cells: Sequence[Placed], transfers_in: int, transfers_out: int, *, frames: int,
            pace: int) -> Timing:
    """Simulate `cells`; those that are wires have the levels 0."""
    kept: list[Cell] = []
    at = {Source(-1): Source(-1)}
    index = {}
    for k, cell in enumerate(cells):
        sources = tuple(at[s] for s in cell.sources)
        if cell.promise is None:
            (at[Source(k)],) = sources
            continue
        index[k] = len(kept)
        outputs = cell.promise.count if isinstance(cell.promise, Split) else 1
        for output in range(outputs):
            at[Source(k, output)] = Source(len(kept), output)
        kept.append(Cell(cell.promise, sources))
    timing = simulate(kept, [transfers_in], transfers_out, frames=frames, pace=pace)
    levels = tuple(timing.levels[index[k]] if k in index else 0 for k in range(len(cells)))
    return replace(timing, levels=levels)


@dataclass(frozen=True)
class Prices:
    """What memories and multipliers weigh, in what a device has of LUTs for each of them."""

    block: float = BLOCK
    dsp: float = DSP

    def raised(self, kind: str, factor: float) -> Prices:
        """Return prices at which one `kind` is dearer."""
        return replace(self, **{kind: factor * getattr(self, kind)})

    def weight(self, cost: Cost, target: Target) -> float:
        """Return what `cost` amounts to, in LUTs."""
        able = target.dsp and cost.port <= target.dsp_width
        dsp = self.dsp * target.lut4 / target.dsp if able else SLOW
        return (cost.sites(target) + 0.25 * cost.ff + dsp * cost.dsp
                + self.block * target.lut4 / target.bram * cost.blocks(target))


def fold_to(graph: Graph, cycles: int, target: Target) -> Plan:
    """Return the plan with the least hardware that takes a frame every `cycles` cycles.

    What the device has too little of becomes dearer, until it suffices or the rest does not either;
    then as many layers as possible have it at its usual price again.
    """
    usual = Prices()
    first = plan = _fold_to(graph, cycles, target, {}, usual)
    if fits(plan, target):
        return plan
    prices = usual
    for kind in ("block", "dsp"):
        low, high = 1.0, 1.0
        while not _suffices(plan, target, kind) and high < RAISE:
            low, high = high, 4 * high
            plan = _fold_to(graph, cycles, target, {}, prices.raised(kind, high))
        if not _suffices(plan, target, kind):
            continue # it cannot do with less
        for _ in range(HALVINGS if high > 1 else 0):
            middle = (low * high) ** 0.5
            tried = _fold_to(graph, cycles, target, {}, prices.raised(kind, middle))
            low, high = (low, middle) if _suffices(tried, target, kind) else (middle, high)
        prices = prices.raised(kind, high)
        plan = _fold_to(graph, cycles, target, {}, prices)
    special: dict[str, Prices] = {}
    for node in graph.nodes:
        if plan.folds[node.name].format and fits(tried := _fold_to(
                graph, cycles, target, special | {node.name: usual}, prices), target):
            plan, special = tried, special | {node.name: usual}
    return plan if fits(plan, target) else first


def _suffices(plan: Plan, target: Target, kind: str) -> bool:
    return plan.cost.blocks(target) <= target.bram if kind == "block" else \
        plan.cost.dsp <= target.dsp


def _fold_to(graph: Graph, cycles: int, target: Target, special: Mapping[str, Prices],
             prices: Prices) -> Plan:
    """Return the plan with the least hardware at `prices`, for some layers at `special` ones.

    Where a layer cannot be that fast it is as fast as it can. Dynamic programming from the input to
    the output: for each number of lanes that a node may give, the cheapest way to get there, with
    what stands between layers of different lanes. (An edge with several readers has the lanes that
    suit the last of them.)
    """
    types = graph.types()

    def weight(cost: Cost, layer: str = "") -> float:
        return special.get(layer, prices).weight(cost, target)

    def options(node: Node, xs: list[Tensor]) -> list[Fold]:
        needs = {f: node.layer.cycles(f, *xs) for f in node.layer.folds(*xs)}
        within = max((n for n in needs.values() if n <= cycles), default=min(needs.values()))
        # what is far faster than needed is larger too, and would only take time to estimate
        return [f for f, n in needs.items() if within / HASTE <= n <= within]

    @cache
    def reach(edge: str, needed: int) -> tuple[float, int]:
        """Return what it costs to have `edge` in `needed` lanes, and the lanes it is given in."""
        found = []
        for lanes, (cost, *_) in best[edge].items():
            cells = list(_route("", "", types[edge], lanes, needed))
            slow = any(c.cycles > cycles for c in cells)
            found.append((cost + sum(weight(c.cost) for c in cells) + slow * SLOW, lanes))
        return min(found)

    best: dict[str, dict[int, tuple[float, Fold, list[int]]]] = {}
    for node in graph.nodes:
        xs = [types[i] for i in node.inputs]
        ways: dict[int, tuple[float, Fold, list[int]]] = {}
        for fold in options(node, xs):
            cost, given = weight(node.layer.cost(fold, *xs), node.name), []
            for edge, x in zip(node.inputs, xs, strict=True):
                # somebody must collect what the input has in one transfer
                more, lanes = ((fold.simd * x.element.width, 0) if edge == INPUT
                               else reach(edge, fold.simd))
                cost += more
                given.append(lanes)
            if fold.pe not in ways or cost < ways[fold.pe][0]:
                ways[fold.pe] = cost, fold, given
        best[node.name] = ways
    folds: dict[str, Fold] = {}
    wanted = {graph.output: min(best[graph.output], key=lambda pe: best[graph.output][pe][0])}
    for node in reversed(graph.nodes):
        _, folds[node.name], given = best[node.name][wanted[node.name]]
        for edge, lanes in zip(node.inputs, given, strict=True):
            wanted.setdefault(edge, lanes)
    return Plan(graph, folds)


@dataclass(frozen=True)
class Choice:
    """A format that holds the weights of a layer, and what the layer would take in it."""

    form: Form
    fold: Fold
    cycles: int
    cost: Cost
    taken: bool


def choices(plan: Plan, node: Node, target: Target) -> list[Choice]:
    """Return the formats that hold the weights of `node`, cheapest first.

    Each is in its cheapest fold that is no slower than the plan, or else in its fastest.
    """
    if not isinstance(node.layer, Weighted):
        return []
    layer, xs = node.layer, [plan.types[i] for i in node.inputs]
    prices, taken = Prices(), plan.folds[node.name]
    found, cycles = [], {fold: layer.cycles(fold, *xs) for fold in layer.folds(*xs)}
    for name, form in layer.forms.items():
        needs = {fold: n for fold, n in cycles.items() if fold.format == name}
        if not needs:
            continue
        wanted = max(plan.steps, min(needs.values()))
        fold = taken if name == taken.format else min(
            (f for f, n in needs.items() if wanted / HASTE <= n <= wanted),
            key=lambda f: prices.weight(layer.cost(f, *xs), target))
        found.append(Choice(form, fold, needs[fold], layer.cost(fold, *xs), fold == taken))
    return sorted(found, key=lambda c: (not c.taken, prices.weight(c.cost, target)))


def fits(plan: Plan, target: Target) -> bool:
    """Return whether `plan` is estimated to fill no more of `target` than can be routed well."""
    return (plan.cost.sites(target) <= FULL * target.lut4
            and plan.cost.blocks(target) <= target.bram and plan.cost.dsp <= target.dsp
            and plan.cost.port <= target.dsp_width)


def make_plan(graph: Graph, target: Target, fps: float | None = None) -> Plan:
    """Return a plan for `target` of at least `fps` frames a second at its clock.

    Without `fps` the design takes one element of the input a cycle, or what fits if that does not;
    infinite `fps` is the fastest that fits.
    """
    if fps is None:
        cycles = max(graph.input.size, 1)
        plan = fold_to(graph, cycles, target)
        while not fits(plan, target):
            slowest = plan.steps
            cycles *= 2
            plan = fold_to(graph, cycles, target)
            if plan.steps == slowest:
                raise ValueError(_too_large(plan, target))
        return plan
    if fps == float("inf"):
        slow, fast = make_plan(graph, target).steps, 1
        while fast < slow:
            middle = (fast + slow) // 2
            fast, slow = ((fast, middle) if fits(fold_to(graph, middle, target), target)
                          else (middle + 1, slow))
        return fold_to(graph, slow, target)
    if fps <= 0:
        raise ValueError(f"the rate must be above 0 frames a second, not {fps:g}")
    plan = fold_to(graph, max(int(target.clock_mhz * 1e6 / fps), 1), target)
    reached = target.clock_mhz * 1e6 / plan.steps
    if reached < fps:
        raise ValueError(f"at most {reached:,.0f} frames a second are possible at "
                         f"{target.clock_mhz:g} MHz, not {fps:,.0f}: every layer is unfolded")
    if not fits(plan, target):
        raise ValueError(_too_large(plan, target))
    return plan


def _too_large(plan: Plan, target: Target) -> str:
    needs, blocks, dsp = plan.cost.sites(target), plan.cost.blocks(target), plan.cost.dsp
    return (f"about {needs:,} LUTs, {blocks} blocks of memory and {dsp} multipliers are needed for "
            f"a frame every {plan.steps:,} cycles; {target.name} has {target.lut4:,} (of which "
            f"{FULL:.0%} can be routed well), {target.bram} and {target.dsp}: ask for fewer frames "
            "a second, or take a larger board")
