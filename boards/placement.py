"""Slices of a placed ECP5 design, and when each of their signals is done."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    import numpy.typing as npt

    Nanoseconds = npt.NDArray[np.float64]

__all__ = ["SITES", "Cell", "Placement", "Site"]

Site = tuple[int, int]
"""A row, and where in it: 8 times the column, and which LUT of the tile."""

BEL = re.compile(r"X(\d+)/Y(\d+)/SLICE([A-D])\.(K|FF)([01])")
SITES = 8
"""LUTs of a tile, and flip-flops behind them: two of each are a slice."""
PAIRS = 2
"""Of a clock and a reset, that a tile has wires for."""

# In nanoseconds, speed grade 6: what `nextpnr-ecp5 --sdf` tells of cells, and of wires before they
# are routed, which is right for the median of those up to 10 tiles.
LUT = 0.236
INTO_CARRY = 0.447
CARRY = 0.071
OUT_OF_CARRY = 0.443
CLOCK_TO_Q = 0.525
DATA = 0.13
"""From a LUT into the flip-flop behind it."""
SET_UP = 0.424
"""Of a reset or an enable; data has none."""
WIRE, NEAR, FAR = 0.48, 0.16, 0.08
"""Any wire; and each tile of its way, the first of each direction and those behind `BEND`."""
BEND = 5
FOREIGN = 7.0
"""Out of a block or a multiplier, and the wire from there, at most."""
NEVER = 99.0
AROUND = 5
"""Tiles farther than what a word is wired to, in which it may find a place."""

WITHIN = frozenset({"DI", "FCI", "F1", "FXA", "FXB"})
"""Inputs whose wires do not leave the tile."""
CONTROL = ("CLK", "LSR", "CE")
END = {"DI": DATA, "LSR": SET_UP, "CE": SET_UP}
MODES = ("CLKMUX", "LSRMUX", "CEMUX", "SRMODE", "GSR")


WAYS = NEAR * np.minimum(np.arange(256), BEND) + FAR * np.maximum(np.arange(256) - BEND, 0)
"""What a wire takes for so many tiles in one direction."""
STEPS = WAYS.tolist()


@dataclass(eq=False, slots=True)
class Cell:
    """A LUT, of a carry chain or not, or a flip-flop."""

    bel: dict[str, Any]
    """The attributes that tell where it is."""
    ff: bool
    row: int
    at: int
    control: tuple[Any, ...]
    """Of a flip-flop: clock, reset, enable, and how it heeds them: the same in all of a slice."""
    fixed: bool
    """Whether it stays: part of a wide multiplexer or a memory, or wired to what is no slice."""
    late: float = 0.0
    """When its inputs from what is no slice are done."""
    sources: list[tuple[str, int, str]] = field(default_factory=list)
    """Each input, the cell that drives it, and its output."""
    sinks: list[tuple[str, int, str]] = field(default_factory=list)
    """Each output, a cell that reads it, and its input."""


class Placement:
    """Where the LUTs and flip-flops of a netlist (nextpnr's JSON) are, and their timing.

    A *word* is a carry chain, or a LUT by itself. A flip-flop that takes the output of its LUT
    (pin ``DI``) is where this is; others (pin ``M``) may be anywhere.

    Parameters
    ----------
    netlist : what nextpnr wrote of a placed design
    period : nanoseconds that all paths should take at most
    """

    def __init__(self, netlist: dict[str, Any], period: float) -> None:
        self.period = period
        self.cells: list[Cell] = []
        self._read(netlist["modules"]["top"]["cells"].values())
        cells = self.cells
        self.x = np.array([cell.at // SITES for cell in cells])
        self.y = np.array([cell.row for cell in cells])
        self.sites = {(cell.row, cell.at, cell.ff): k for k, cell in enumerate(cells)}
        self.tiles = {(cell.row, cell.at // SITES) for cell in cells}
        """Of which something is used: the device has them for sure."""
        self.all_tiles = np.array(sorted(self.tiles))
        self.words: list[list[int]] = []
        self.word_of: dict[int, int] = {}
        self.register_of: dict[int, int] = {}
        following: dict[int, int] = {}
        for k, cell in enumerate(cells):
            for pin, source, _ in cell.sources:
                if pin == "FCI":
                    following[source] = k
                elif pin == "DI":
                    self.register_of[source] = k
        inner = set(following.values())
        for k, cell in enumerate(cells):
            if not cell.ff and k not in inner:
                word = [k]
                while word[-1] in following:
                    word.append(following[word[-1]])
                self.word_of |= dict.fromkeys(word, len(self.words))
                self.words.append(word)
        self.order = self._ordered()
        self.rank = {k: place for place, k in enumerate(self.order)}
        self.slack = self.measure()

    def _read(self, cells: Any) -> None:
        drivers: dict[int, tuple[int, str]] = {}
        clocks: set[int] = set()
        others: set[int] = set()
        read: list[tuple[dict[str, int], dict[str, str]]] = []
        for cell in cells:
            nets = {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
            match = BEL.fullmatch(cell["attributes"].get("NEXTPNR_BEL", ""))
            if not match:
                (clocks if cell["type"] == "DCCA" else others).update(nets.values())
                continue
            x, y, letter, kind, half = match.groups()
            at = SITES * int(x) + 2 * "ABCD".index(letter) + int(half)
            parameters, ff = cell["parameters"], kind == "FF"
            for pin, net in nets.items():
                if cell["port_directions"][pin] == "output":
                    drivers[net] = len(read), pin
            read.append((nets, cell["port_directions"]))
            self.cells.append(Cell(
                cell["attributes"], ff, int(y), at,
                (*(nets.get(pin) for pin in CONTROL), *map(parameters.get, MODES)) if ff else (),
                not ff and (parameters.get("MODE", "LOGIC") not in {"LOGIC", "CCU2"}
                            or not nets.keys().isdisjoint({"OFX", "F1", "M", "FXA", "FXB"}))))
        for k, (cell, (nets, directions)) in enumerate(zip(self.cells, read, strict=True)):
            for pin, net in nets.items():
                if net in clocks:
                    continue
                driver = drivers.get(net)
                if net in others:
                    cell.fixed = True
                    if driver is None:
                        cell.late = FOREIGN
                if driver is not None and directions[pin] == "input":
                    cell.sources.append((pin, *driver))
                    self.cells[driver[0]].sinks.append((driver[1], k, pin))

    def _ordered(self) -> list[int]:
        """Return the LUTs, each behind those that it reads."""
        waits = {k: sum(not self.cells[source].ff for _, source, _ in cell.sources)
                 for k, cell in enumerate(self.cells) if not cell.ff}
        free = deque(k for k, count in waits.items() if not count)
        order = []
        while free:
            k = free.popleft()
            order.append(k)
            for _, sink, _ in self.cells[k].sinks:
                if sink in waits:
                    waits[sink] -= 1
                    if not waits[sink]:
                        free.append(sink)
        return order

    def measure(self) -> Nanoseconds:
        """Time all paths; return the slack of the worst one through each cell."""
        cells = self.cells
        done = [CLOCK_TO_Q if cell.ff else cell.late + LUT for cell in cells]
        carry = [cell.late + INTO_CARRY for cell in cells]
        self.done, self.carry = done, carry
        self.follow(self.order)
        due, carry_due = [NEVER] * len(cells), [NEVER] * len(cells)
        # LUTs from their readers on, and then flip-flops, which start paths
        registers = (k for k, cell in enumerate(cells) if cell.ff)
        for group in (reversed(self.order), registers):
            for k in group:
                x, y = cells[k].at // SITES, cells[k].row
                for output, sink, pin in cells[k].sinks:
                    if pin == "FCI":
                        carry_due[k] = min(carry_due[k], due[sink] - OUT_OF_CARRY,
                                           carry_due[sink] - CARRY)
                        continue
                    when = (self.period - END.get(pin, 0) if cells[sink].ff
                            else min(due[sink] - LUT, carry_due[sink] - INTO_CARRY))
                    if pin not in WITHIN:
                        other = cells[sink]
                        when -= WIRE + STEPS[abs(x - other.at // SITES)] + STEPS[abs(y - other.row)]
                    if output == "FCO":
                        carry_due[k] = min(carry_due[k], when)
                    else:
                        due[k] = min(due[k], when)
        self.due, self.carry_due = due, carry_due
        self.slack = np.minimum(np.subtract(due, done), np.subtract(carry_due, carry))
        return self.slack

    def follow(self, luts: Iterable[int]) -> None:
        """Find when LUTs are done, one after the other, of what is known of those they read."""
        done, carry = self.done, self.carry
        for k in luts:
            cell = self.cells[k]
            x, y = cell.at // SITES, cell.row
            last, through = cell.late + LUT, cell.late + INTO_CARRY
            for pin, source, output in cell.sources:
                if pin == "FCI":
                    last = max(last, carry[source] + OUT_OF_CARRY)
                    through = max(through, carry[source] + CARRY)
                    continue
                when = carry[source] if output == "FCO" else done[source]
                if pin not in WITHIN:
                    other = self.cells[source]
                    when += WIRE + STEPS[abs(x - other.at // SITES)] + STEPS[abs(y - other.row)]
                last, through = max(last, when + LUT), max(through, when + INTO_CARRY)
            done[k], carry[k] = last, through

    def wire(self, k: int, xs: Any, ys: Any) -> Any:
        """Return what wires take between cell `k` and places `xs`, `ys`."""
        return WIRE + WAYS[np.abs(xs - self.x[k])] + WAYS[np.abs(ys - self.y[k])]

    def needed(self, sink: int, pin: str) -> float:
        """Return when an input has to be there."""
        if self.cells[sink].ff:
            return self.period - END.get(pin, 0)
        return min(self.due[sink] - LUT, self.carry_due[sink] - INTO_CARRY)

    def at_places(self, word: list[int], xs: Any, ys: Any, without: Container[int] = ()
                  ) -> tuple[Nanoseconds, Nanoseconds, Nanoseconds]:
        """Return the slack of a word at some places, when it is done, and its wires' length in ns.

        Cells around it are where they are; those in `without` need nothing of it. `xs` and `ys` are
        of its cells: ``(places, cells)``.
        """
        places = len(xs)
        slack, last = np.full(places, NEVER), np.zeros(places)
        carry, length = np.full(places, -NEVER), np.zeros(places)
        for j, k in enumerate(word):
            x, y = xs[:, j], ys[:, j]
            done = np.full(places, self.cells[k].late + LUT)
            if j:
                done = carry + OUT_OF_CARRY
                carry = carry + CARRY
            for pin, source, output in self.cells[k].sources:
                if pin == "FCI":
                    continue
                wire = self.wire(source, x, y)
                when = (self.carry if output == "FCO" else self.done)[source] + wire
                length += wire
                done, carry = np.maximum(done, when + LUT), np.maximum(carry, when + INTO_CARRY)
            due = np.full(places, NEVER)
            register = self.register_of.get(k)
            if register is not None:
                due[:] = self.period - DATA
                more, wires = self.register_at_places(register, x, y)
                slack, length = np.minimum(slack, more), length + wires
            for _, sink, pin in self.cells[k].sinks:
                if pin not in WITHIN and sink not in without:
                    wire = self.wire(sink, x, y)
                    length += wire
                    due = np.minimum(due, self.needed(sink, pin) - wire)
            slack, last = np.minimum(slack, due - done), np.maximum(last, done)
        return slack, last, length

    def register_at_places(self, k: int, xs: Any, ys: Any) -> tuple[Nanoseconds, Nanoseconds]:
        """Return the slack of a flip-flop at some places, and its wires' length in ns."""
        slack, length = np.full(len(xs), NEVER), np.zeros(len(xs))
        for pin, source, _ in self.cells[k].sources:
            if pin not in WITHIN:
                wire = self.wire(source, xs, ys)
                length += wire
                slack = np.minimum(slack, self.needed(k, pin) - self.done[source] - wire)
        for _, sink, pin in self.cells[k].sinks:
            wire = self.wire(sink, xs, ys)
            length += wire
            slack = np.minimum(slack, self.needed(sink, pin) - CLOCK_TO_Q - wire)
        return slack, length

    def tiles_around(self, cells: Iterable[int]) -> npt.NDArray[np.int64]:
        """Return the tiles, ``(row, column)`` each, between all that `cells` are wired to."""
        ends = [end for k in cells for _, end, _ in (*self.cells[k].sources, *self.cells[k].sinks)]
        rows, columns = self.all_tiles.T
        near = np.ones(len(rows), bool)
        for places, tiles in ((self.y[ends], rows), (self.x[ends], columns)):
            near &= (tiles >= places.min() - AROUND) & (tiles <= places.max() + AROUND)
        return self.all_tiles[near]

    def within(self, row: int, first: int, count: int) -> list[int]:
        """Return the cells at so many sites of a row."""
        return [k for at in range(first, first + count) for ff in (False, True)
                if (k := self.sites.get((row, at, ff))) is not None]

    def swap(self, a: Site, b: Site, count: int) -> None:
        """Let all that is at `count` sites from `a` on change places with what is from `b` on."""
        these, those = self.within(*a, count), self.within(*b, count)
        for k in (*these, *those):
            cell = self.cells[k]
            del self.sites[cell.row, cell.at, cell.ff]
        for group, (_row, first), (new_row, new) in ((these, a, b), (those, b, a)):
            for k in group:
                cell = self.cells[k]
                self._put(k, new_row, cell.at + new - first)

    def move(self, k: int, site: Site) -> None:
        """Put a flip-flop at a free site."""
        cell = self.cells[k]
        del self.sites[cell.row, cell.at, cell.ff]
        self._put(k, *site)

    def _put(self, k: int, row: int, at: int) -> None:
        cell = self.cells[k]
        cell.row, cell.at = row, at
        self.x[k], self.y[k] = at // SITES, row
        self.sites[row, at, cell.ff] = k

    def allowed(self, row: int, first: int, count: int) -> bool:
        """Return whether the tiles of some sites have the wires that control their flip-flops."""
        return all(self._tile_allowed(row, x)
                   for x in range(first // SITES, (first + count - 1) // SITES + 1))

    def _tile_allowed(self, row: int, x: int) -> bool:
        pairs = set()
        for at in range(SITES * x, SITES * (x + 1), 2):
            controls = {self.cells[k].control for half in (0, 1)
                        if (k := self.sites.get((row, at + half, True))) is not None}
            if len(controls) > 1:
                return False
            pairs |= {control[:2] for control in controls}
        return len(pairs) <= PAIRS

    def places(self) -> list[Site]:
        """Return where all cells are."""
        return [(cell.row, cell.at) for cell in self.cells]

    def restore(self, places: list[Site]) -> None:
        """Put all cells back to `places`."""
        self.sites.clear()
        for k, place in enumerate(places):
            self._put(k, *place)

    def write(self) -> None:
        """Enter all places into the netlist."""
        for cell in self.cells:
            x, z = divmod(cell.at, SITES)
            cell.bel["NEXTPNR_BEL"] = (f"X{x}/Y{cell.row}/SLICE{'ABCD'[z // 2]}."
                                       f"{'FF' if cell.ff else 'K'}{z % 2}")

