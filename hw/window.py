"""Windows on a stream of maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.credit import credit, store_of
from bittern.hw.ints import shape_of
from bittern.hw.saturation import limits
from bittern.hw.stream import SPRAM, Queue
from bittern.hw.stream import lanes as _lanes

if TYPE_CHECKING:
    from amaranth.lib import stream

    from bittern.hw.ints import Ints
    from bittern.hw.patches import Axis, Patches

__all__ = ["BLOCK", "READ", "Rows", "WindowReader", "WindowUnit", "rows_of", "words_of"]

READ = 3
"""Cycles from a step to what it reads."""
BLOCK = 1024
"""Bits from which the rows are kept in blocks of memory."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Which rows of a map are kept, while windows pass over it.

    For each row of windows: the rows of the map that must have come, and of these the ones that no
    later window sees, from the first row on. `kept` rows fit in the memory: those that windows see,
    and those that come until the next row of windows.
    """

    needs: Ints
    frees: Ints
    kept: int


@lru_cache(maxsize=4096)
def rows_of(axis: Axis) -> Rows:
    """Return what is kept of the rows of a map."""
    seen = axis.elements
    # nothing of a frame comes before its first row, even where windows see padding alone
    needs = np.maximum.accumulate(seen.max(axis=1) + 1).clip(min=1)
    needs[-1] = axis.size # so that no row comes after its frame has gone
    first = np.where(seen < 0, axis.size, seen).min(axis=1)
    frees = np.append(np.minimum.accumulate(first[::-1])[::-1][1:], axis.size)
    frees = np.minimum(frees, needs)
    # of the next frame, or of this one, what the next row of windows needs may come in time
    later = np.append(needs[1:], axis.size + needs[0])
    return Rows(needs, frees, int((later - np.append(0, frees[:-1])).max()))


def words_of(patches: Patches, groups: int) -> int:
    """Return the words of memory for the rows of a map, of which each element has `groups`.

    They are a row more if the last step of a row of windows reads the first word of a row: one that
    goes with it would be written again before it is read.
    """
    late = groups == 1 and patches.columns.elements[-1, -1] == 0
    return (rows_of(patches.rows).kept + bool(late)) * patches.columns.size * groups


class _Walk:
    """The element that a window sees: its address, and whether there is one.

    `unit` is the distance of elements in memory. Addresses are modulo `modulus`, if there is one:
    then a walk goes on from frame to frame.
    """

    def __init__(self, m: Module, axis: Axis, unit: int, modulus: int | None, name: str) -> None:
        self.m, self.axis, self.unit, self.modulus = m, axis, unit, modulus
        first, phase = divmod(-axis.before, axis.zoom)
        top = axis.size * unit if modulus is None else modulus
        lowest = -axis.before
        highest = (axis.outputs - 1) * axis.stride + axis.reach - 1 - axis.before
        shapes = {"address": unsigned(max(top - 1, 1).bit_length()),
                  "position": shape_of(min(lowest, 0), max(highest, axis.positions)),
                  "phase": unsigned((axis.zoom - 1).bit_length())}
        self.initial = {"address": first * unit % (modulus or 1 << shapes["address"].width),
                        "position": lowest, "phase": phase}
        self.start, self.now = ({key: Signal(shape, name=f"{name}_{which}{key}",
                                             init=self.initial[key])
                                 for key, shape in shapes.items()} for which in ("start_", ""))
        self.following = self._step(self.start, axis.stride)
        if modulus is None:
            self.restarted: dict[str, Value] = {
                key: Const(value, shapes[key]) for key, value in self.initial.items()}
        else: # the rows of the next frame come behind those of this one
            last = ((axis.outputs - 1) * axis.stride - axis.before) // axis.zoom
            move = (axis.size + first - last) * unit
            self.restarted = {"address": self._plus(self.start["address"], move),
                              "position": Const(lowest, shapes["position"]),
                              "phase": Const(phase, shapes["phase"])}

    def _plus(self, address: Value, move: int) -> Value:
        if self.modulus is None or self.modulus == 1 << len(address):
            return (address + move % (1 << len(address)))[:len(address)]
        move %= self.modulus
        wrapped = address >= self.modulus - move
        return Mux(wrapped, address - (self.modulus - move), address + move)[:len(address)]

    def _step(self, at: dict[str, Signal], positions: int) -> dict[str, Value]:
        elements, phases = divmod(positions, self.axis.zoom)
        address: Value = self._plus(at["address"], elements * self.unit)
        phase: Value = at["phase"]
        if phases:
            over = at["phase"] >= self.axis.zoom - phases
            phase = Mux(over, phase - (self.axis.zoom - phases), phase + phases)
            address = Mux(over, self._plus(at["address"], (elements + 1) * self.unit), address)
        return {"address": address, "position": at["position"] + positions, "phase": phase}

    def advance(self, tap: Value, again: Value, window: Value, frame: Value) -> None:
        """Go to the next tap, back to the first one, to the next window, or to the first one."""
        taps = self._step(self.now, self.axis.dilation)
        for key, now in self.now.items():
            with self.m.If(frame):
                self.m.d.sync += [now.eq(self.restarted[key]),
                                  self.start[key].eq(self.restarted[key])]
            with self.m.Elif(window):
                self.m.d.sync += [now.eq(self.following[key]),
                                  self.start[key].eq(self.following[key])]
            with self.m.Elif(again):
                self.m.d.sync += now.eq(self.start[key])
            with self.m.Elif(tap):
                self.m.d.sync += now.eq(taps[key])

    @property
    def inside(self) -> Value:
        """Whether there is an element."""
        there: Value = Const(1)
        if (self.axis.elements < 0).any():
            position = self.now["position"]
            # a negative one is, without its sign, larger than any other
            there = position.as_unsigned() < self.axis.positions
            if self.axis.gaps and self.axis.zoom > 1:
                there &= self.now["phase"] == 0
        return there


class WindowReader(wiring.Component):
    """Rows of a map, and the elements that windows on them see, in turn.

    Each step reads `lanes` channels of an element. A row of windows begins when all rows of the map
    that it sees have come; meanwhile those of the next one come. What is read is there :data:`READ`
    cycles after its step, which nothing stops. No path is combinational from or to ``i``.

    Parameters
    ----------
    patches : Patches
    x : Shape
        Of an element.
    channels : int
    lanes : int
        Of a transfer; they divide the channels.
    by_channel : bool
        Whether a window gives all its taps for the first channels, then for the next ones; else all
        the channels of its first tap, then of the next one.
    one_port : bool
        Whether the memory is written or read in a cycle, as SPRAM is: a step takes two cycles, and
        a transfer is taken in every second one at the most.

    Members
    -------
    i : ``In(lanes(x, lanes))``
        The map.
    may : ``In(1)``
        Whether a step that is the last of some (see ``last``) can be done.
    last : ``Out(1)``
        Whether the step of this cycle, which is the last of the taps of its channels, is done; if
        not `by_channel`, the same for every step.
    valid, o : ``Out(1)``, ``Out(lanes * x.width)``
        What was read.
    """

    i: stream.Interface
    may: Signal
    last: Signal
    valid: Signal
    o: Signal

    def __init__(self, patches: Patches, x: Shape, *, channels: int, lanes: int,
                 by_channel: bool, one_port: bool = False) -> None:
        if channels % lanes:
            raise ValueError(f"lanes must divide the {channels} channels, not {lanes}")
        self.patches, self.x, self.by_channel, self.lanes = patches, x, by_channel, lanes
        self.one_port = one_port
        self.groups = channels // lanes
        self.rows = rows_of(patches.rows)
        self.seen = shape_of(*patches.range(*limits(x)))
        super().__init__({"i": In(_lanes(x, lanes)), "may": In(1), "last": Out(1),
                          "valid": Out(1), "o": Out(lanes * self.seen.width)})

    @cached_property
    def pitch(self) -> int:
        """Transfers of a row."""
        return self.patches.columns.size * self.groups

    @cached_property
    def depth(self) -> int:
        """Words of the memory."""
        return words_of(self.patches, self.groups)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth, word = self.depth, self.lanes * self.x.width
        m.submodules.store = store = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(word), depth=depth, init=[], attrs=SPRAM if self.one_port else
            {"ram_style": "block"} if depth * word >= BLOCK else {})
        write, read = store.write_port(), store.read_port()
        came, went = Signal(), Signal() # a row of the map, and one of windows
        room, ready = self._hold(m, came, went)
        reads = Signal()
        self._write(m, write, came, room, reads)
        # two more registers: of the parts of the address, and of the address
        parts = self._walk(m, went, ready)
        row, column, inside, done = (Signal.like(Value.cast(v), name=name) for v, name in
                                     zip(parts, ("row", "column", "inside", "done"), strict=True))
        m.d.sync += [q.eq(v) for q, v in zip((row, column, inside, done), parts, strict=True)]
        inside_q, seen_inside, done_q = Signal(), Signal(), Signal()
        at = Signal(range(depth))
        m.d.sync += [at.eq(row + column), inside_q.eq(inside), done_q.eq(done),
                     seen_inside.eq(inside_q), self.valid.eq(done_q)]
        m.d.comb += [reads.eq(done_q), read.addr.eq(at), read.en.eq(1)]
        if self.one_port:
            m.d.comb += [read.addr.eq(write.addr), read.en.eq(reads)]
            with m.If(reads):
                m.d.comb += write.addr.eq(at)
        for k in range(self.lanes):
            bits = read.data[k * self.x.width:(k + 1) * self.x.width]
            element = (bits.as_signed() if self.x.signed else bits) + Const(0, self.seen)
            m.d.comb += self.o.word_select(k, self.seen.width).eq(
                Mux(seen_inside, element, Const(self.patches.fill, self.seen)))
        return m

    def _hold(self, m: Module, came: Value, went: Value) -> tuple[Value, Value]:
        """Count rows; return whether one has room, and whether all that windows see are there.

        Both are registers: what becomes of them is worked out for each case before it is known.
        """
        needs, kept = self.rows.needs, self.rows.kept
        before = np.append(0, self.rows.frees)
        held = Signal(range(kept + 1))
        need, free, after = (Signal(held.shape(), name=name) for name in ("need", "free", "after"))
        width, rows = len(held), len(needs)
        following = np.append(needs[1:] - before[1:-1], needs[0])
        words = [int(n) | int(f) << width | int(k) << 2 * width for n, f, k in zip(
            needs - before[:-1], np.diff(before), following, strict=True)]
        word: Value = Const(words[0], 3 * width)
        primed: Value = Const(1)
        if len(set(words)) > 1:
            m.submodules.rows = rom = memory.Memory( # type: ignore[var-annotated]
                shape=unsigned(3 * width), depth=rows, init=words, attrs={
                    "rom_style": "block" if 3 * width * rows >= BLOCK else "logic"})
            port, at, primed = rom.read_port(), Signal(range(rows)), Signal(name="primed")
            m.d.comb += [port.addr.eq(at), port.en.eq(went | ~primed)]
            m.d.sync += primed.eq(1)
            with m.If(port.en):
                m.d.sync += at.eq(Mux(at == rows - 1, 0, at + 1))
            word = port.data
            if self.pitch == 1: # a row may have come in the first cycle
                word, primed = Mux(primed, word, words[0]), Const(1)
        room, ready = Signal(init=1), Signal()
        m.d.comb += Cat(need, free, after).eq(word)
        m.d.sync += held.eq(held + came - Mux(went, free, 0))
        for rows_came in (0, 1):
            with m.If(came == rows_came):
                left, now = held + rows_came - free, held + rows_came
                m.d.sync += [room.eq(Mux(went, left != kept, now != kept)),
                             ready.eq(primed & Mux(went, left >= after, now >= need))]
        return room, ready

    def _write(self, m: Module, write: memory.WritePort, came: Value, room: Value, reads: Value
               ) -> None:
        """Write the map, row by row."""
        column, at = Signal(range(self.pitch)), Signal.like(write.addr)
        last, takes = column == self.pitch - 1, Signal()
        m.d.comb += [takes.eq(self.i.valid & self.i.ready), came.eq(takes & last),
                     self.i.ready.eq(room), write.addr.eq(at),
                     write.en.eq(takes), write.data.eq(self.i.payload)]
        if self.one_port: # what came is written in this cycle or, if this one reads, the next
            held, waits, took = Signal.like(write.data, reset_less=True), Signal(), Signal()
            m.d.comb += [self.i.ready.eq(room & ~took), write.en.eq(waits & ~reads),
                         write.data.eq(held)]
            m.d.sync += [took.eq(takes), waits.eq(takes | waits & reads)]
            with m.If(takes):
                m.d.sync += held.eq(self.i.payload)
        with m.If(takes):
            m.d.sync += column.eq(Mux(last, 0, column + 1))
        with m.If(write.en):
            m.d.sync += at.eq(Mux(at == self.depth - 1, 0, at + 1))

    def _walk(self, m: Module, went: Value, ready: Value
              ) -> tuple[Value, Value, Value, Value]:
        """Return the addresses of a row and in it, whether an element is there, and is read."""
        rows, columns = self.patches.rows, self.patches.columns
        counts = [("group", self.groups), ("across", columns.kernel), ("down", rows.kernel)]
        if self.by_channel:
            counts = counts[1:] + counts[:1]
        counts += [("column", columns.outputs), ("row", rows.outputs)]
        step = Signal()
        advances: Value = step
        goes, wraps, at, ends = {}, {}, {}, {}
        for name, count in counts:
            at[name] = Signal(range(count), name=f"{name}_count")
            ends[name] = Signal(init=count == 1, name=f"{name}_ends") # a register: all wait for it
            goes[name], wraps[name] = Signal(name=f"{name}_goes"), Signal(name=f"{name}_wraps")
            m.d.comb += [goes[name].eq(advances), wraps[name].eq(goes[name] & ends[name])]
            if count > 1:
                with m.If(goes[name]):
                    m.d.sync += [at[name].eq(Mux(ends[name], 0, at[name] + 1)),
                                 ends[name].eq(~ends[name] & (at[name] == count - 2))]
            advances = wraps[name]
        gives = ends["across"] & ends["down"] if self.by_channel else Const(1)
        able = ready
        if self.one_port:
            stepped = Signal()
            m.d.sync += stepped.eq(step)
            able = ready & ~stepped
        m.d.comb += [step.eq(able & (self.may | ~gives)), went.eq(wraps["column"]),
                     self.last.eq(step & gives)]
        window = wraps["group" if self.by_channel else "down"]
        across = _Walk(m, columns, self.groups, None, "across")
        across.advance(goes["across"], wraps["across"], window, wraps["column"])
        down = _Walk(m, rows, self.pitch, self.depth, "down")
        down.advance(goes["down"], wraps["down"], wraps["column"], wraps["row"])
        # the address may be any where there is no element
        column = (across.now["address"] + at["group"])[:len(across.now["address"])]
        return down.now["address"], column, across.inside & down.inside, step


class WindowUnit(wiring.Component):
    """What windows see, as a stream: of each window all channels of its first tap, then the next.

    A transfer a cycle. Latency :attr:`latency` from the step that reads to ``o``.

    Parameters
    ----------
    patches : Patches
    x : Shape
        Of an element.
    channels : int
    lanes : int
        Channels of a transfer, of ``i`` and of ``o``; they divide the channels.
    one_port : bool
        As of the reader.

    Members
    -------
    i : ``In(lanes(x, lanes))``
    o : ``Out(lanes(shape, lanes))``
        The shape holds what is seen beyond the map, too.
    """

    i: stream.Interface
    o: stream.Interface

    store = store_of(READ)
    latency = READ + Queue.latency_of(store)

    def __init__(self, patches: Patches, x: Shape, *, channels: int, lanes: int,
                 one_port: bool = False) -> None:
        self.reader = WindowReader(patches, x, channels=channels, lanes=lanes, by_channel=False,
                                   one_port=one_port)
        super().__init__({"i": In(_lanes(x, lanes)), "o": Out(_lanes(self.reader.seen, lanes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.results = results = Queue(self.o.payload.shape(), self.store)
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, results.o, wiring.flipped(self.o))
        m.d.comb += [reader.may.eq(credit(m, self.store, reader.last, self.o)),
                     results.i.valid.eq(reader.valid), results.i.payload.eq(reader.o)]
        return m
