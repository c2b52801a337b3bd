"""Lanes that run sparse rows: what is common to the units that do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.credit import credit
from bittern.hw.sparse.code import Coded, Row, SparseCode, Symbol
from bittern.hw.stream import Queue, lanes, transfers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth.lib import stream
    from numpy.typing import NDArray

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Lane", "Operand", "Schedule", "SparseEngine", "addresses", "delay_of",
           "schedule_of", "spread"]

UNEVEN = 1.05
"""Steps of the lane with the most, over the mean of all, that need not be made fewer."""
SMALL = 512
"""Memories of fewer bits are in LUTs."""


def addresses(inputs: int, simd: int) -> Ints:
    """Return the address of each input: its transfer, and in the low bits its place in that."""
    k = np.arange(inputs)
    return (k // simd << (simd - 1).bit_length()) | k % simd


def spread(matrix: NDArray[Any], simd: int) -> NDArray[Any]:
    """Return `matrix` with each column at its address; columns that are no input's are zero.

    Where `simd` is a power of two nothing moves.
    """
    inputs = matrix.shape[1]
    wide = np.zeros((len(matrix), int(addresses(inputs, simd)[-1]) + 1), dtype=matrix.dtype)
    wide[:, addresses(inputs, simd)] = matrix
    return wide


def delay_of(lane_delay: int) -> int:
    """Return the cycles from a step to its result: word, input twice, lane, result, bias."""
    return 5 + lane_delay


@dataclass(frozen=True, eq=False)
class Schedule:
    """What each lane does when: all that is known of a frame before hardware is made.

    Lanes step together, and each does its rows without a gap. The results of group g, rows
    ``g * lanes`` to ``(g + 1) * lanes - 1``, are given when the last of them is there.

    Parameters
    ----------
    lengths : array ``(groups, lanes)``
        Steps of each row.
    order : array ``(groups, lanes)``
        Which lane does each row.
    """

    lengths: Ints
    order: Ints

    @classmethod
    def of(cls, lengths: Ints) -> Self:
        """Return the schedule of rows of `lengths` steps, ``(groups, lanes)``.

        Row k is done by lane ``k % lanes``, unless that leaves the lanes uneven by more than a
        twentieth: then rows of a group change their lanes, as few as make them even.
        """
        return cls(lengths, _even(lengths))

    @cached_property
    def ends(self) -> Ints:
        """Steps after which each row has ended, ``(groups, lanes)`` by the lane that does it."""
        done = np.empty_like(self.lengths)
        np.put_along_axis(done, self.order, self.lengths, axis=1)
        ends: Ints = np.cumsum(done, axis=0)
        return ends

    @property
    def steps(self) -> int:
        """Cycles of a frame."""
        return int(self.ends[-1].max())

    @cached_property
    def gives(self) -> tuple[bool, ...]:
        """For each step whether it makes the results of a group complete."""
        gives = np.zeros(self.steps, dtype=bool)
        gives[self.ends.max(axis=1) - 1] = True
        return tuple(gives.tolist())

    @property
    def depths(self) -> list[int]:
        """Results that each lane keeps while others are behind, with the one just made."""
        complete = self.ends.max(axis=1)
        made = 1 + np.arange(len(complete))[:, None]
        return [int(n) for n in (made - np.searchsorted(complete, self.ends)).max(axis=0)]

    def store(self, delay: int) -> int:
        """Return the groups to keep for the output: as many as are on their way without a stall.

        They come `delay` cycles after their step; room is given back three cycles after that.
        """
        once = self.ends.max(axis=1)
        frames = np.arange(2 + (delay + 3) // self.steps)[:, None]
        given = (once + self.steps * frames).ravel()
        return max(int((np.searchsorted(given, once + delay + 3) - np.arange(len(once))).max()), 2)


def schedule_of(code: SparseCode, nonzero: Pattern, lanes: int) -> Schedule:
    """Return the schedule of a matrix, from where it is not zero: ``(rows, inputs)``.

    The last group is filled with rows of zeros.
    """
    rows, inputs = nonzero.shape
    padded = np.zeros((transfers(rows, lanes) * lanes, inputs), dtype=bool)
    padded[:rows] = nonzero
    return Schedule.of(code.lengths(code.fold(padded)).reshape(-1, lanes // code.height))


def _even(lengths: Ints) -> Ints:
    """Return which lane does each row, swapping rows of a group while the lanes are uneven."""
    done = lengths.copy() # by lane, as which row of the group that is
    rows = np.tile(np.arange(lengths.shape[1]), (len(lengths), 1))
    loads = done.sum(axis=0)
    swapped = np.zeros((lengths.shape[1],) * 2, dtype=bool)
    while loads.max() > UNEVEN * loads.mean():
        a = int(loads.argmax())
        less = done[:, a:a + 1] - done
        worst = np.maximum(loads[a] - less, loads + less)
        # of the swaps that suffice, one between lanes that have a multiplexer already
        enough = swapped[a] & (worst <= UNEVEN * loads.mean())
        g, b = divmod(int(np.argmin(worst - enough * loads[a])), len(loads))
        if worst[g, b] >= loads[a]:
            break
        swapped[a, b] = swapped[b, a] = True
        for table in (done, rows):
            table[g, a], table[g, b] = table[g, b], table[g, a]
        loads = done.sum(axis=0)
    return np.argsort(rows, axis=1)


@dataclass(frozen=True)
class Operand:
    """What comes into a lane in a cycle."""

    x: Value
    """The input, of its shape."""
    value: Value
    """What is stored of the symbol besides its index."""
    last: Value
    """Whether it is the last of its row."""
    valid: Value


class Lane(ABC):
    """The datapath of a lane: what it makes of the inputs of a row, one a cycle.

    The engine finds the inputs; what a value means is up to the lane: the code of a weight to
    multiply by, or whether a group of inputs that share a weight ends.
    """

    @property
    @abstractmethod
    def delay(self) -> int:
        """Cycles from the last operand of a row to its result."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Bits of the result, modulo two to which it is right."""

    @abstractmethod
    def gates(self, m: Module, operand: Operand, name: str) -> tuple[Value, Value]:
        """Return the result, which need not stay, and whether it is there in this cycle.

        The next row may begin in the cycle after a row's last operand, and operands come with gaps.
        Nothing is to be done about stalls: there is always room for a result.
        """


class SparseEngine(wiring.Component):
    """Lanes that each do rows of symbols, one a cycle: ``o = result of each row + bias``.

    Inputs of a frame go into a memory for each decoder, twice as large as a frame, so that the
    next one comes in meanwhile; the first step of a frame waits until all of it is there. Then a
    frame takes :attr:`Schedule.steps` cycles, and frames follow each other without a gap where
    that is more than the transfers of an input. :attr:`delay` cycles after a step for which
    :attr:`Schedule.gives` says so, the results of a group go into a queue, and 1 or 2 cycles later
    (depth 2 or more of it) are on ``o``. No path is combinational from ``o`` to ``i`` or back: a
    step that gives is taken only when there will be room, and nothing behind ever stops.

    Parameters
    ----------
    rows : sequence of Row
        What is not zero of each row, by address of the input (see :func:`addresses`); of codes of
        some height, of so many rows each, the value of the first in the low bits.
    zero : int
        Value of a padding symbol.
    code : SparseCode
    lane : Lane
        `code.height` of them have one decoder, and their part of its value.
    bias : array ``(rows,)``
    x, result : Shape
        Of an input and of a result.
    inputs, simd : int
        Elements of a frame and of a transfer of ``i``.
    count : int
        Lanes.
    block : bool
        Whether larger memories shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(result, count))``
        What the last transfer of a frame has beyond the rows is undefined.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, rows: Sequence[Row], zero: int, code: SparseCode, lane: Lane, bias: Ints, *,
                 x: Shape, result: Shape, inputs: int, simd: int, count: int,
                 block: bool = True) -> None:
        span = int(addresses(inputs, simd)[-1]) + 1
        if code.inputs != span:
            raise ValueError(f"code.inputs must be {span}, the addresses of {inputs} inputs in "
                             f"transfers of {simd}, not {code.inputs}")
        if count % code.height:
            raise ValueError(f"lanes must be a multiple of {code.height}, the height of the code, "
                             f"not {count}")
        self.code, self.lane, self.x, self.block = code, lane, x, block
        self.inputs, self.simd, self.count = inputs, simd, count
        self.in_folds, self.out_folds = transfers(inputs, simd), transfers(len(bias), count)
        decoders = count // code.height
        missing = self.out_folds * decoders - len(rows)
        symbols = [code.symbols(row, zero) for row in [*rows, *[[]] * missing]]
        lengths = np.array([len(row) for row in symbols])
        self.schedule = Schedule.of(lengths.reshape(-1, decoders))
        done = (np.argsort(self.schedule.order, axis=1)
                + decoders * np.arange(self.out_folds)[:, None])
        self.stored = [code.encode([symbols[r] for r in lane_rows]) for lane_rows in done.T]
        self.bias = np.zeros((self.out_folds, count), dtype=np.int64)
        self.bias.flat[:len(bias)] = bias
        super().__init__({"i": In(lanes(x, simd)), "o": Out(lanes(result, count))})

    @property
    def steps(self) -> int:
        """Cycles of a frame."""
        return self.schedule.steps

    @property
    def delay(self) -> int:
        """Cycles from a step to its result."""
        return delay_of(self.lane.delay)

    @property
    def store(self) -> int:
        """Transfers that are kept for ``o``."""
        return self.schedule.store(self.delay)

    @property
    def latency(self) -> int:
        """Cycles from a step to its result on ``o``."""
        return self.delay + Queue.latency_of(self.store)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.results = results = Queue(self.o.payload.shape(), self.store)
        wiring.connect(m, results.o, wiring.flipped(self.o))
        take, first, final = Signal(), Signal(init=1), Signal()
        word, gives, at, primed = self._words(m, take)
        promised = Signal() # the step that is taken gives
        r_bank, bank, valid = Signal(), Signal(), Signal()
        full, write = self._write(m, take & final, r_bank)
        may = credit(m, self.store, promised, self.o)
        m.d.comb += [final.eq(at == (0 if self._ahead else self.steps - 1)),
                     promised.eq(take & gives),
                     take.eq(primed & (may | ~gives) & (full | ~first))]
        m.d.sync += valid.eq(take)
        with m.If(take):
            m.d.sync += [first.eq(final), bank.eq(r_bank), r_bank.eq(r_bank ^ final)]
        loaded, load = Signal(), Signal()
        m.d.comb += load.eq(primed & ~loaded)
        m.d.sync += loaded.eq(primed)
        coded, advances = [], []
        for d, stored in enumerate(self.stored):
            step: Value = valid
            own = len(stored.words)
            if own < self.steps: # then this lane waits for the others
                active = Signal(name=f"active_{d}")
                step = valid & active
                with m.If(take):
                    beyond = at == (own + self._ahead) % self.steps
                    m.d.sync += active.eq((active | first) & ~beyond)
            advances.append(Signal(name=f"advance_{d}"))
            width = self.code.width
            coded.append(Coded(word[d * width:(d + 1) * width],
                               self._heads(m, d, advances[-1], primed), step, load))
        made = []
        for d, symbol in enumerate(self.code.gates(m, coded, valid)):
            m.d.comb += advances[d].eq(load | coded[d].step & symbol.advance)
            x = self._read(m, d, symbol.index, bank, write)
            made += self._run(m, d, symbol, coded[d].step, x)
        given: Value = promised
        for k in range(self.delay - 1):
            q = Signal(name=f"given_{k}")
            m.d.sync += q.eq(given)
            given = q
        m.d.sync += results.i.valid.eq(given)
        held = [self._hold(m, k, result, done, given) for k, (result, done) in enumerate(made)]
        self._finish(m, held, given, results)
        return m

    def _rom(self, m: Module, name: str, words: list[int], width: int, *, block: bool
             ) -> memory.ReadPort:
        rom: memory.Memory = memory.Memory(
            shape=unsigned(width), depth=len(words), init=words,
            attrs={"rom_style": "block" if block else "logic"})
        m.submodules[name] = rom
        return rom.read_port()

    @property
    def _ahead(self) -> bool:
        """Whether words are read a step ahead: from a block, whose output comes late."""
        return (self.block and self.steps > 1
                and self.steps * len(self.stored) * self.code.width >= SMALL)

    def _words(self, m: Module, take: Value) -> tuple[Value, Value, Value, Value]:
        """Return the words of the step that was taken, and of the next one whether it gives.

        That is a bit of the word before it. Then the address of the memory, which is that of the
        next step or one more, and whether steps may be taken.
        """
        width, steps = self.code.width, self.steps
        words = [int(gives) << width * len(self.stored)
                 for gives in np.roll(self.schedule.gives, -1)]
        for d, stored in enumerate(self.stored):
            for k, w in enumerate(stored.words):
                words[k] |= w << d * width
        if steps == 1:
            return Const(words[0], width * len(self.stored)), Const(1), Const(0), Const(1)
        port = self._rom(m, "words", words, width * len(self.stored) + 1, block=self._ahead)
        at, primed = Signal(range(steps), init=0 if self._ahead else steps - 1), Signal()
        m.d.sync += primed.eq(1)
        m.d.comb += [port.addr.eq(at), port.en.eq(take | ~primed)]
        with m.If(port.en):
            m.d.sync += at.eq(Mux(at == steps - 1, 0, at + 1))
        if not self._ahead:
            return port.data[:-1], port.data[-1], at, primed
        word = Signal(len(port.data) - 1, name="word", reset_less=True)
        gives = Signal(name="gives", init=self.schedule.gives[0])
        with m.If(take):
            m.d.sync += Cat(word, gives).eq(port.data)
        return word, gives, at, primed

    def _heads(self, m: Module, d: int, advance: Value, primed: Value) -> Value:
        """Return the head after that which decoder `d` holds."""
        heads, width = self.stored[d].heads, self.code.head_width
        if len(heads) < 2:
            return Const(heads[0] if heads else 0, width)
        port = self._rom(m, f"heads_{d}", heads, width,
                         block=self.block and len(heads) * width >= SMALL)
        at = Signal(range(len(heads)), name=f"head_{d}")
        m.d.comb += [port.addr.eq(at), port.en.eq(advance | ~primed)]
        with m.If(port.en):
            m.d.sync += at.eq(Mux(at == len(heads) - 1, 0, at + 1))
        data: Value = port.data
        return data

    def _write(self, m: Module, release: Value, r_bank: Value) -> tuple[Value, _Write]:
        """Return whether all of the frame in bank `r_bank` is there, and what is written.

        That comes out of a register: it goes to several memories, and what is read in the cycle
        after the last step, which releases its bank, is not yet written over.
        """
        bits = (self.in_folds - 1).bit_length()
        w, w_bank, full = Signal(range(self.in_folds)), Signal(), Signal(2)
        take, enable = Signal(), Signal()
        address, data = Signal(bits + 1, reset_less=True), Signal(
            self.i.payload.shape().size, name="written", reset_less=True)
        m.d.comb += [self.i.ready.eq(~full.bit_select(w_bank, 1)),
                     take.eq(self.i.valid & self.i.ready)]
        m.d.sync += [enable.eq(take), address.eq(Cat(w[:bits], w_bank)), data.eq(self.i.payload)]
        with m.If(release):
            m.d.sync += full.bit_select(r_bank, 1).eq(0)
        with m.If(take):
            m.d.sync += w.eq(Mux(w == self.in_folds - 1, 0, w + 1))
            with m.If(w == self.in_folds - 1):
                m.d.sync += [w_bank.eq(~w_bank), full.bit_select(w_bank, 1).eq(1)]
        return full.bit_select(r_bank, 1), _Write(enable, address, data)

    def _read(self, m: Module, d: int, index: Value, bank: Value, write: _Write) -> Value:
        """Return the input at address `index`, two cycles later.

        Elements of a transfer are written side by side, by ports that synthesis makes one: a block
        is written in wide words and read in narrow ones. A port that reads at the clock would have
        to give the old element in a cycle that writes it; with a register behind it need not.
        """
        low, bits, n = (self.simd - 1).bit_length(), (self.in_folds - 1).bit_length(), self.x.width
        buffer: memory.Memory = memory.Memory(
            shape=unsigned(n), depth=2 << low + bits, init=[],
            attrs={"ram_style": "block"} if self.block else {})
        m.submodules[f"inputs_{d}"] = buffer
        padded = Cat(write.data, Const(0, ((1 << low) - self.simd) * n))
        for s in range(1 << low):
            port = buffer.write_port()
            m.d.comb += [port.en.eq(write.enable), port.data.eq(padded[s * n:(s + 1) * n]),
                         port.addr.eq(Cat(Const(s, low), write.address))]
        read = buffer.read_port(domain="comb")
        element = Signal(n, name=f"element_{d}", reset_less=True)
        x = Signal(self.x, name=f"x_{d}", reset_less=True)
        m.d.comb += read.addr.eq(Cat(index[:low + bits], bank))
        m.d.sync += [element.eq(read.data), x.eq(element)]
        return x

    def _run(self, m: Module, d: int, symbol: Symbol, step: Value, x: Value
             ) -> list[tuple[Value, Value]]:
        """Return the results of the lanes of decoder `d`, and whether they are there."""
        value, last, valid = symbol.value, symbol.last, step
        for k in range(2): # as long as it takes to get the input
            held = Signal.like(symbol.value, name=f"value_{d}_{k}", reset_less=True)
            last_q = Signal(name=f"last_{d}_{k}", reset_less=True)
            valid_q = Signal(name=f"valid_{d}_{k}")
            m.d.sync += [held.eq(value), last_q.eq(last), valid_q.eq(valid)]
            value, last, valid = held, last_q, valid_q
        n = len(value) // self.code.height
        return [self.lane.gates(m, Operand(x, value[j * n:(j + 1) * n], last, valid),
                                f"lane_{d * self.code.height + j}")
                for j in range(self.code.height)]

    def _hold(self, m: Module, k: int, result: Value, done: Value, given: Value) -> Value:
        """Return the oldest result of lane `k` that was not given."""
        depth = self.schedule.depths[k // self.code.height]
        held = [Signal(self.lane.width, name=f"held_{k}_{j}", reset_less=True)
                for j in range(depth)]
        if depth == 1:
            with m.If(done):
                m.d.sync += held[0].eq(result)
            return held[0]
        count, at = Signal(range(depth + 1), name=f"count_{k}"), Signal(range(depth + 1),
                                                                       name=f"at_{k}")
        m.d.comb += at.eq(count - given)
        m.d.sync += count.eq(at + done)
        for j, q in enumerate(held):
            with m.If(done & (at == j)):
                m.d.sync += q.eq(result)
            with m.Elif(given):
                m.d.sync += q.eq(held[j + 1] if j + 1 < depth else result)
        return held[0]

    def _finish(self, m: Module, held: list[Value], given: Value, results: Queue) -> None:
        """Put results that lanes have for each other in order, and add the biases."""
        groups, width, h = self.out_folds, self.lane.width, self.code.height
        masked = self.bias & ((1 << width) - 1)
        group = Signal(range(groups))
        with m.If(given):
            m.d.sync += group.eq(Mux(group == groups - 1, 0, group + 1))
        words = [sum(int(b) << (k * width) for k, b in enumerate(row)) for row in masked]
        bias: Value = Const(words[0], self.count * width)
        if len(set(words)) > 1: # read a group ahead
            port = self._rom(m, "bias", words, len(bias), block=False)
            ahead, begun = Signal(range(groups)), Signal()
            m.d.sync += begun.eq(1)
            m.d.comb += [port.addr.eq(ahead), port.en.eq(given | ~begun)]
            with m.If(port.en):
                m.d.sync += ahead.eq(Mux(ahead == groups - 1, 0, ahead + 1))
            bias = port.data
        for k in range(self.count):
            total = Signal(width, name=f"ordered_{k}")
            makers = self.schedule.order[:, k // h]
            usual = np.bincount(makers).argmax()
            m.d.comb += total.eq(held[usual * h + k % h])
            with m.Switch(group):
                for d in sorted({*makers.tolist()} - {usual}):
                    with m.Case(*np.flatnonzero(makers == d).tolist()):
                        m.d.comb += total.eq(held[d * h + k % h])
            result = Signal(width, name=f"result_{k}", reset_less=True)
            m.d.comb += results.i.payload[k].eq(result)
            m.d.sync += result.eq(total + bias[k * width:(k + 1) * width])


@dataclass(frozen=True)
class _Write:
    """What is written into the memories of inputs."""

    enable: Value
    address: Value
    data: Value
