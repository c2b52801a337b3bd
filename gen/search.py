"""Search: the folds of a graph that take the least hardware."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from bittern.gen.cost import rom_lut, sprams
from bittern.gen.ir import INPUT
from bittern.gen.layers.weighted import Weighted
from bittern.gen.plan import FULL, MOST, Plan, route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bittern.gen.cost import Cost, Estimate, Target
    from bittern.gen.ir import Fold, Graph, Node, Tensor
    from bittern.gen.layers.weighted import Form

__all__ = ["Choice", "RateError", "best_plan", "choices", "fold_to", "make_plan"]

HASTE = 4
"""How many times faster than it needs to be a layer may be."""
BLOCK = 0.2
"""Weight of a block of memory, in the LUTs that a device has for each."""
DSP = 0.1
"""Weight of a multiplier, in the LUTs that a device has for each."""
RAISE, HALVINGS = 256, 4
"""How much dearer what is scarce becomes, at most, and how closely its price is found."""
SLOW = 1e9
"""Weight of cells between layers that are too slow: more than any hardware."""


@dataclass(frozen=True)
class Prices:
    """What memories and multipliers weigh, in what a device has of LUTs for each of them."""

    block: float = BLOCK
    dsp: float = DSP

    def raised(self, kind: str, factor: float) -> Prices:
        """Return prices at which one `kind` is dearer."""
        return replace(self, **{kind: factor * getattr(self, kind)})

    def of_block(self, target: Target) -> float:
        """Return what a block of memory weighs, in LUTs."""
        return self.block * target.lut4 / target.bram

    def weight(self, cost: Cost, target: Target) -> float:
        """Return what `cost` amounts to, in LUTs."""
        return Needs.of([cost], target).weight(self, target)


class RateError(ValueError):
    """A rate that no plan has, and the highest that one has."""

    def __init__(self, reached: float, message: str) -> None:
        super().__init__(message)
        self.reached = reached


class Needs(NamedTuple):
    """What some cells take of a device."""

    lut4: float
    memories: tuple[tuple[float, int], ...]
    """LUTs and blocks that each could be made of."""
    dsp: int

    @classmethod
    def of(cls, costs: Iterable[Cost], target: Target) -> Needs:
        """Return the sum of `costs`; flip-flops count as a fourth of a LUT."""
        lut4, dsp = 0.0, 0
        memories: list[tuple[float, int]] = []
        for cost in costs:
            able = cost.port <= target.dsp_width and (target.dsp or not cost.dsp)
            taken = replace(cost, memories=()).on(target)
            lut4 += taken.lut4 + 0.25 * taken.ff + (0 if able else SLOW)
            memories += [(rom_lut(*m) if target.lut_ram else SLOW, target.blocks(*m))
                         for m in cost.memories]
            dsp += taken.dsp
        return cls(lut4, tuple(memories), dsp)

    def weight(self, prices: Prices, target: Target) -> float:
        """Return what it amounts to, in LUTs."""
        block = prices.of_block(target)
        return (self.lut4 + sum(min(luts, block * blocks) for luts, blocks in self.memories)
                + prices.dsp * target.lut4 / max(target.dsp, 1) * self.dsp)


@dataclass(frozen=True)
class _Way:
    """The cheapest way to have an edge in some number of lanes, and the lanes it reads."""

    weight: float
    fold: Fold
    reads: tuple[int, ...]


class _Search:
    """What does not depend on prices: the folds of each layer that are fast enough."""

    def __init__(self, graph: Graph, cycles: int, target: Target) -> None:
        self.graph, self.cycles, self.target = graph, cycles // graph.turns, target
        self.types = graph.types()
        self.routes: dict[tuple[str, int, int], Needs] = {}

    @cached_property
    def options(self) -> dict[str, list[tuple[Fold, Needs]]]:
        """Folds of each layer. One that cannot be fast enough is as fast as it can."""
        return {node.name: self._options(node, node.layer.folds(*self._xs(node)))
                for node in self.graph.nodes}

    def _xs(self, node: Node) -> list[Tensor]:
        return [self.types[i] for i in node.inputs]

    def use_spram(self) -> None:
        """Have SPRAM take the place of the largest memories until the blocks suffice."""
        stored = {node.name: {f: memory for f in node.layer.folds(*self._xs(node))
                              if (memory := node.layer.stores(f, *self._xs(node)))
                              and memory[0] > 1} for node in self.graph.nodes}
        blocks = {name: min(self.target.blocks(*memory) for memory in able.values())
                  for name, able in stored.items() if able}
        least = {name: min(sprams(*memory) for memory in stored[name].values()) for name in blocks}
        left, moved = self.target.spram, []

        def move(name: str, most: int) -> None:
            (node,) = (node for node in self.graph.nodes if node.name == name)
            self.options[name] = self._options(node, [
                replace(f, spram=True) for f, memory in stored[name].items()
                if sprams(*memory) <= most])

        for name in sorted(blocks, key=lambda name: blocks[name], reverse=True):
            if least[name] > left:
                continue
            if _suffices(self.plan(Prices().raised("block", RAISE)), "block"):
                break
            move(name, least[name])
            left -= least[name]
            moved.append(name)
        if moved and left: # what is left makes the words of the largest wider
            move(moved[0], least[moved[0]] + left)

    def _options(self, node: Node, folds: Iterable[Fold]) -> list[tuple[Fold, Needs]]:
        xs = self._xs(node)
        cycles = {f: node.layer.cycles(f, *xs) for f in folds}
        within = _within(cycles.values(), self.cycles)
        # what is far faster than needed is larger too, and would only take time to estimate
        return [(f, Needs.of([node.layer.cost(f, *xs)], self.target))
                for f, n in cycles.items() if within / HASTE <= n <= within]

    def route(self, edge: str, wide: int, needed: int) -> Needs:
        """Return what is between transfers of `wide` elements of `edge` and of `needed`."""
        key = edge, wide, needed
        if key not in self.routes:
            cells = list(route("", "", self.types[edge], wide, needed))
            needs = Needs.of((c.cost for c in cells), self.target)
            if any(c.cycles > self.cycles for c in cells):
                needs = needs._replace(lut4=needs.lut4 + SLOW)
            self.routes[key] = needs
        return self.routes[key]

    def plan(self, prices: Prices, special: Mapping[str, Prices] | None = None) -> Plan:
        """Return the plan with the least hardware at `prices`, for some layers at `special` ones.

        Dynamic programming from the input to the output: for each number of lanes that a node may
        give, the cheapest way to get there, with what stands between layers of different lanes.
        (An edge with several readers has the lanes that suit the last of them.)
        """
        best: dict[str, dict[int, _Way]] = {}
        reached: dict[tuple[str, int], tuple[float, int]] = {}

        def reach(edge: str, needed: int) -> tuple[float, int]:
            """Return what it costs to have `edge` in `needed` lanes, and those it is given in."""
            if edge == INPUT: # somebody must collect what the input has in one transfer
                return needed * self.types[INPUT].element.width, 0
            if (edge, needed) not in reached:
                reached[edge, needed] = min(
                    (way.weight + self.route(edge, lanes, needed).weight(prices, self.target),
                     lanes) for lanes, way in best[edge].items())
            return reached[edge, needed]

        for node in self.graph.nodes:
            own = (special or {}).get(node.name, prices)
            ways: dict[int, _Way] = {}
            for fold, needs in self.options[node.name]:
                reads = [reach(edge, fold.simd) for edge in node.inputs]
                weight = needs.weight(own, self.target) + sum(w for w, _ in reads)
                if fold.pe not in ways or weight < ways[fold.pe].weight:
                    ways[fold.pe] = _Way(weight, fold, tuple(lanes for _, lanes in reads))
            best[node.name] = ways
        output = best[self.graph.output]
        wanted = {self.graph.output: min(output, key=lambda pe: output[pe].weight)}
        folds: dict[str, Fold] = {}
        for node in reversed(self.graph.nodes):
            way = best[node.name][wanted[node.name]]
            folds[node.name] = way.fold
            for edge, lanes in zip(node.inputs, way.reads, strict=True):
                wanted.setdefault(edge, lanes)
        return Plan(self.graph, folds,
                    replace(self.target, block_luts=prices.of_block(self.target)),
                    {name: own.of_block(self.target) for name, own in (special or {}).items()})


def fold_to(graph: Graph, cycles: int, target: Target) -> Plan:
    """Return the plan with the least hardware that takes a frame every `cycles` cycles.

    Where there are too few blocks of memory at any price, SPRAM takes the place of the largest.
    What else the device has too little of becomes dearer, until it suffices or the rest does not
    either; then as many layers as possible have it at its usual price again.
    """
    usual, search = Prices(), _Search(graph, cycles, target)
    if target.spram:
        search.use_spram()
    prices, first = usual, search.plan(usual)
    plan = first
    if plan.fits:
        return plan
    for kind in ("block", "dsp"):
        low = high = 1.0
        while not _suffices(plan, kind) and high < RAISE:
            low, high = high, 4 * high
            plan = search.plan(prices.raised(kind, high))
        if not _suffices(plan, kind):
            continue # it cannot do with less
        for _ in range(HALVINGS if high > 1 else 0):
            middle = (low * high) ** 0.5
            enough = _suffices(search.plan(prices.raised(kind, middle)), kind)
            low, high = (low, middle) if enough else (middle, high)
        prices = prices.raised(kind, high)
        plan = search.plan(prices)
    special: dict[str, Prices] = {}
    for node in graph.nodes:
        if plan.folds[node.name].format:
            tried = search.plan(prices, special | {node.name: usual})
            if all(_suffices(tried, kind) for kind in ("block", "dsp")):
                plan, special = tried, special | {node.name: usual}
    return plan if plan.fits_in(MOST) else first


def _within(cycles: Collection[int], wanted: int) -> int:
    """Return the most of `cycles` that are not above `wanted`, or else the fewest."""
    return max((n for n in cycles if n <= wanted), default=min(cycles))


def _suffices(plan: Plan, kind: str) -> bool:
    needs, target = plan.estimate, plan.target
    return needs.bram <= target.bram if kind == "block" else needs.dsp <= target.dsp


def best_plan(graphs: Sequence[Graph], target: Target, fps: float | None = None) -> Plan:
    """Return the plan of least hardware for one of `graphs`, which compute the same.

    Without `fps`, or with an infinite one, the fastest, of these that of least hardware.
    """
    plans, errors = [], []
    for graph in graphs:
        try:
            plans.append(make_plan(graph, target, fps))
        except ValueError as error:
            errors.append(error)
    if not plans: # a loop, if there is one, needs the least, and is the slowest
        order = errors[::-1] if graphs[-1].turns > 1 else errors
        raise max(order, key=lambda error: getattr(error, "reached", inf))
    rated = fps is not None and fps < float("inf")
    enough = plans[0].graph.input.size if fps is None else 0 # cycles that are fast enough
    return min(plans, key=lambda plan: (0 if rated else max(plan.steps, enough), Needs.of(
        (cell.cost for cell in plan.draft), target).weight(Prices(), target)))


def make_plan(graph: Graph, target: Target, fps: float | None = None) -> Plan:
    """Return a plan for `target` of at least `fps` frames a second at its clock.

    Without `fps` the design takes one element of the input a cycle, or what fits well if that does
    not; infinite `fps` is the fastest that fits well.
    """
    if fps is None:
        cycles = max(graph.input.size, 1)
        plan = fold_to(graph, cycles, target)
        while not plan.fits:
            slowest = plan.steps
            cycles *= 2
            plan = fold_to(graph, cycles, target)
            if plan.steps == slowest < cycles // 2: # there is no slower one
                _check(plan)
                break
        return plan
    if fps == float("inf"):
        plan = make_plan(graph, target)
        share, slow, fast = FULL if plan.fits else MOST, plan.steps, 1
        while fast < slow:
            middle = (fast + slow) // 2
            fast, slow = ((fast, middle) if fold_to(graph, middle, target).fits_in(share)
                          else (middle + 1, slow))
        return fold_to(graph, slow, target)
    if fps <= 0:
        raise ValueError(f"the rate must be above 0 frames a second, not {fps:g}")
    plan = fold_to(graph, max(int(target.clock_mhz * 1e6 / fps), 1), target)
    reached = target.clock_mhz * 1e6 / plan.steps
    if reached < fps:
        why = "every layer is unfolded"
        if plan.estimate.spram:
            why = "SPRAM gives no more weights a cycle"
            reached = target.clock_mhz * 1e6 / make_plan(graph, target, float("inf")).steps
        raise RateError(reached, f"at most {reached:,.0f} frames a second are possible at "
                                 f"{target.clock_mhz:g} MHz, not {fps:,.0f}: {why}")
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    if plan.fits_in(MOST):
        return
    needs, target = plan.cost, plan.target
    beside = f" beside {needs.spram} of SPRAM" if needs.spram else ""
    raise ValueError(
        f"about {needs.lut4:,} LUTs, {needs.ff:,} flip-flops, {needs.bram} blocks of memory{beside}"
        f" and {needs.dsp} multipliers are needed for a frame every {plan.steps:,} cycles; "
        f"{target.name} has {target.lut4:,}, {target.ff:,} (of both {MOST:.0%} can be routed), "
        f"{target.bram} and {target.dsp}: ask for fewer frames a second, or take a larger board"
        f"{_instead(plan)}")


def _instead(plan: Plan) -> str:
    """Say what the largest layer in a format that was asked for is, and could be."""
    def sites(layer: Weighted, node: Node) -> int:
        xs = [plan.types[i] for i in node.inputs]
        slowest: dict[str, Fold] = {}
        for fold in layer.folds(*xs):
            rival = slowest.setdefault(fold.format, fold)
            if layer.cycles(fold, *xs) > layer.cycles(rival, *xs):
                slowest[fold.format] = fold
        return min(layer.cost(fold, *xs).on(plan.target).lut4 for fold in slowest.values())

    asked = [(sites(node.layer, node), node) for node in plan.graph.nodes
             if isinstance(node.layer, Weighted) and node.layer.only]
    if not asked:
        return ""
    most, node = max(asked, key=lambda found: found[0])
    assert isinstance(node.layer, Weighted)
    least = sites(node.layer.with_fields(only=""), node)
    return (f". Layer {node.name!r} takes {most:,} LUTs as {node.layer.only}, and from {least:,} "
            "on in other formats" if least < most else "")


@dataclass(frozen=True)
class Choice:
    """A format that holds the weights of a layer, and what the layer would take in it."""

    form: Form
    fold: Fold
    cycles: int
    cost: Estimate
    taken: bool


def choices(plan: Plan, node: Node) -> list[Choice]:
    """Return the formats that hold the weights of `node`, cheapest first.

    Each is in its cheapest fold that is no slower than the plan, or else in its fastest.
    """
    if not isinstance(node.layer, Weighted):
        return []
    layer, xs, target = node.layer, [plan.types[i] for i in node.inputs], plan.target
    prices, taken = Prices(), plan.folds[node.name]

    def weight(fold: Fold) -> float:
        return prices.weight(layer.cost(fold, *xs), target)

    found, cycles = [], {fold: layer.cycles(fold, *xs) for fold in layer.folds(*xs)}
    for name, form in layer.forms.items():
        needs = {fold: n for fold, n in cycles.items() if fold.format == name}
        if not needs:
            continue
        within = _within(needs.values(), plan.steps // plan.graph.turns)
        fold = taken if name == taken.format else min(
            (f for f, n in needs.items() if within / HASTE <= n <= within),
            key=weight)
        found.append(Choice(form, fold, needs[fold],
                            layer.cost(fold, *xs).on(plan.target_of(node.name)), fold == taken))
    return sorted(found, key=lambda c: (not c.taken, weight(c.fold)))
