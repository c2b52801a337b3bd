"""Dot products that end as soon as it is known that their ReLU is zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Stages
from bittern.hw.skipping.signed_product import (
    add,
    products_latency,
    signed_products,
)
from bittern.hw.stream import Queue, lanes, transfers

if TYPE_CHECKING:
    from amaranth import Value
    from numpy.typing import NDArray

    from bittern.hw.formats.format import Format

__all__ = ["EarlyTerminationUnit"]

SMALL = 512
"""Memories of fewer bits are in LUTs."""


@dataclass(frozen=True, eq=False)
class _Row:
    """Weights of a row that are not zero: positive ones first, then from the most negative one."""

    index: Ints
    weights: Ints
    bias: int

    @classmethod
    def of(cls, weights: Ints, bias: int) -> _Row:
        negative = np.argsort(weights, kind="stable")
        order = np.concatenate([np.flatnonzero(weights > 0), negative[weights[negative] < 0]])
        index = order if len(order) else np.zeros(1, dtype=np.int64) # a row takes one step at least
        return cls(index, weights[index], bias)

    @cached_property
    def checked(self) -> NDArray[np.bool_]:
        """After which steps the sum can only fall, so that at most 0 means that it stays there."""
        positive = int((self.weights > 0).sum())
        return np.arange(len(self.weights)) >= positive - 1

    def steps(self, x: Ints) -> Ints:
        """Return the steps after which the result for each of `x` ``(frames, inputs)`` is known."""
        sums = self.bias + np.cumsum(x[:, self.index] * self.weights, axis=1)
        known = (sums <= 0) & self.checked
        known[:, -1] = True
        steps: Ints = known.argmax(axis=1) + 1
        return steps


class EarlyTerminationUnit(wiring.Component):
    """Matrix-vector product with ReLU: ``o = max(weights @ i + bias, 0)``, exactly, in fewer steps.

    For inputs that are not negative. Each lane multiplies an input by a weight a cycle: weights
    that are zero are left out, the positive ones of a row come first, then the negative ones, those
    of the largest magnitude first. There the sum can only fall: when it is at most 0 the result is
    0, and the rest of the row is skipped. A row of `n` weights, for which that is known after `k`,
    takes ``min(n, k + delay)`` cycles, since the lane goes on until the sum that tells is there.
    Weights and biases of mean zero leave little to skip, a tenth or less: half of the rows end
    early, but only near their ends. Negative means leave more.

    Row ``r`` is done by lane ``r % pe``. Lanes do not wait for each other within a frame; a frame
    begins when it is there and all lanes have done the one before, while the next comes in.
    :meth:`cycles` tells exactly when results leave. No path is combinational from ``o`` to ``i`` or
    back. Where the sign is wanted, ``weights @ i + bias > 0`` is ``o != 0``.

    Source: V. Akhlaghi et al., "SnaPEA: predictive early activation for reducing computation in
    deep convolutional neural networks" (ISCA 2018), its exact mode.

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    fmt : Format
        Holds all of `weights`.
    x : Shape
        Of an input, unsigned.
    pe : int
        Lanes; they need not divide the number of outputs.
    block : bool
        Whether larger memories shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, 1))``
    o : ``Out(lanes(shape_of(0, hi), pe))``
        `hi` is the greatest result there can be.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, weights: Ints, bias: Ints, fmt: Format, *, x: Shape, pe: int,
                 block: bool = True) -> None:
        outputs, inputs = weights.shape
        if not 1 <= pe <= outputs:
            raise ValueError(f"pe must be in 1..{outputs}, not {pe}")
        if x.signed:
            raise ValueError(f"x must be unsigned, so that sums only fall, not {x}")
        self.fmt, self.x, self.pe, self.block = fmt, x, pe, block
        self.inputs, self.outputs, self.out_folds = inputs, outputs, transfers(outputs, pe)
        most = (1 << x.width) - 1
        lo = min(int((bias + most * weights.clip(max=0).sum(axis=1)).min()), 0)
        hi = max(int((bias + most * weights.clip(min=0).sum(axis=1)).max()), 0)
        self.acc, self.result = shape_of(min(lo, -1), hi), shape_of(0, hi)
        padded = np.zeros((self.out_folds * pe, inputs + 1), dtype=np.int64)
        padded[:outputs, :inputs], padded[:outputs, inputs] = weights, bias
        self.rows = [_Row.of(row[:-1], int(row[-1])) for row in padded]
        super().__init__({"i": In(lanes(x, 1)), "o": Out(lanes(self.result, pe))})

    @property
    def delay(self) -> int:
        """Cycles from a step to its sum: weight, input, product, sum."""
        return 3 + products_latency(self.fmt, self.x)

    @property
    def store(self) -> int:
        """Results that a lane keeps while others are behind: all of a frame."""
        return max(self.out_folds, 2) if self.pe > 1 else 2

    def steps(self, x: Ints) -> Ints:
        """Return the cycles of each lane for each of frames ``(frames, inputs)``: ``(frames, pe)``.

        After the last row there is nothing to hide the way of its sum.
        """
        total = np.zeros((len(x), self.pe), dtype=np.int64)
        for r, row in enumerate(self.rows):
            n, known = len(row.weights), row.steps(x) + self.delay
            last = r >= len(self.rows) - self.pe
            total[:, r % self.pe] += np.where(known <= n, known, n + last * self.delay)
        return total

    def cycles(self, x: Ints) -> Ints:
        """Return when the last result of each of frames ``(frames, inputs)`` leaves ``o``.

        In cycles from that which takes the first input, where none is kept waiting on either side.
        """
        arrived, free = -1, [0, 0] # when the last input came, and when each bank is free
        done, ends = 0, []
        for frame, steps in enumerate(self.steps(x).max(axis=1).tolist()):
            arrived = max(arrived + 1, free[frame % 2]) + self.inputs - 1
            done = max(arrived + 1, done) + steps + 2
            free[frame % 2] = done
            ends.append(done - 2 + Queue.latency_of(self.store))
        return np.array(ends)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank = 1 << (self.inputs - 1).bit_length()
        w, w_bank, r_bank, full = Signal(range(bank)), Signal(), Signal(), Signal(2)
        running, start = Signal(), Signal()
        engines, queues = [], []
        for p in range(self.pe):
            m.submodules[f"lane_{p}"] = lane = _Lane(self, self.rows[p::self.pe])
            m.submodules[f"results_{p}"] = queue = Queue(self.result, self.store)
            wiring.connect(m, lane.o, queue.i)
            m.d.comb += [lane.start.eq(start), lane.bank.eq(r_bank),
                         lane.write.eq(self.i.valid & self.i.ready), lane.at.eq(Cat(w, w_bank)),
                         lane.i.eq(self.i.payload[0])]
            engines.append(lane)
            queues.append(queue)
        idle = ~Cat(lane.busy for lane in engines).any()
        m.d.comb += [self.i.ready.eq(~full.bit_select(w_bank, 1)),
                     start.eq(full.bit_select(r_bank, 1) & ~running)]
        with m.If(start):
            m.d.sync += running.eq(1)
        with m.Elif(running & idle):
            m.d.sync += [running.eq(0), r_bank.eq(~r_bank), full.bit_select(r_bank, 1).eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += w.eq(Mux(w == self.inputs - 1, 0, w + 1))
            with m.If(w == self.inputs - 1):
                m.d.sync += [w_bank.eq(~w_bank), full.bit_select(w_bank, 1).eq(1)]
        m.d.comb += self.o.valid.eq(Cat(queue.o.valid for queue in queues).all())
        for p, queue in enumerate(queues):
            m.d.comb += [self.o.payload[p].eq(queue.o.payload),
                         queue.o.ready.eq(self.o.valid & self.o.ready)]
        return m


class _Lane(wiring.Component):
    """One lane, with inputs of two frames of its own: results of its rows in order.

    `start` begins a frame of the inputs in `bank`, while the lane is not `busy`.
    """

    start: Signal
    busy: Signal
    bank: Signal
    write: Signal
    at: Signal
    i: Signal
    o: stream.Interface

    def __init__(self, unit: EarlyTerminationUnit, rows: list[_Row]) -> None:
        self.unit, self.rows = unit, rows
        low = (unit.inputs - 1).bit_length()
        self.word = data.StructLayout({"code": unit.fmt.width, "index": low, "checked": 1,
                                       "last": 1})
        super().__init__({
            "start": In(1), "busy": Out(1), "bank": In(1), "write": In(1), "at": In(low + 1),
            "i": In(unit.x), "o": Out(stream.Signature(unit.result))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        unit, count = self.unit, sum(len(row.weights) for row in self.rows)
        step, jump, issue = Signal(), Signal(), Signal()
        address = Signal(range(count))
        stages = Stages(m, step)
        word = data.View(self.word, self._rom(m, "weights", self._words(), self.word.size,
                                              address, enable=step))
        x = self._input(m, step, word.index)
        flags: list[Value] = [Cat(word.checked, word.last)]
        code, flag = stages.stage([word.code, flags[0]], "word")
        flags.append(flag)
        (product,) = signed_products(unit.fmt, stages, [code], x, "product")
        beside = Stages(m, step)
        while len(flags) < unit.delay:
            flags += beside.stage(flags[-1:], f"flags_{len(flags)}")
        valid = [issue]
        for level in range(unit.delay):
            q = Signal(name=f"valid_{level}")
            with m.If(step):
                m.d.sync += q.eq(valid[-1] & ~jump)
            valid.append(q)
        *coming, there = valid[1:]
        checked, last = flags[-1][0], flags[-1][1]
        add_up = Signal()
        m.d.comb += add_up.eq(step & coming[-1] & ~jump)
        bias, first, target, ends = self._row(m, add_up=add_up, last=flags[-2][1],
                                              jump=step & jump)
        acc = Signal(unit.acc, reset_less=True)
        with m.If(add_up):
            m.d.sync += acc.eq(add(Mux(first, bias, acc), product, len(acc)))
        at_most_0 = acc[-1] | ~acc.any()
        ending = Cat(v & flag[1] for v, flag in zip(coming, flags, strict=False)).any()
        m.d.comb += [
            jump.eq(there & checked & at_most_0 & ~last & ~ending),
            self.o.valid.eq(there & (last | jump)), step.eq(~self.o.valid | self.o.ready),
            self.o.payload.eq(Mux(at_most_0, 0, acc))]
        with m.If(self.start):
            m.d.sync += [issue.eq(1), self.busy.eq(1)]
        with m.If(step & issue):
            m.d.sync += address.eq(Mux(address == count - 1, 0, address + 1))
            with m.If(address == count - 1):
                m.d.sync += issue.eq(0)
        with m.If(step & jump): # nothing that is on its way is wanted
            m.d.sync += [address.eq(target), issue.eq(~ends)]
        with m.If(self.o.valid & self.o.ready & ends):
            m.d.sync += self.busy.eq(0)
        return m

    def _row(self, m: Module, *, add_up: Value, last: Value, jump: Value
             ) -> tuple[Value, Value, Value, Value]:
        """Return the bias of the row that is added up, and whether it begins with this product.

        And of the row whose sum is there: the address of the next one, and whether there is none.
        """
        rows, width, depth = len(self.rows), self.unit.acc.width, len(self._words())
        first, begun, row = Signal(init=1), Signal(), Signal(range(rows))
        with m.If(add_up | jump):
            m.d.sync += first.eq(last | jump)
        if rows == 1:
            return Const(self.rows[0].bias, width), first, Const(0, 1), Const(1, 1)
        starts = np.cumsum([len(r.weights) for r in self.rows])
        starts[-1] = 0
        words = [r.bias & (1 << width) - 1 | int(start) << width
                 for r, start in zip(self.rows, starts, strict=True)]
        target, ends = Signal(range(depth)), Signal()
        begin = add_up & first
        m.d.sync += begun.eq(1)
        with m.If(begin | ~begun): # read a row ahead
            m.d.sync += row.eq(Mux(row == rows - 1, 0, row + 1))
        word = self._rom(m, "rows", words, width + len(target), row,
                         enable=begin | ~begun)
        with m.If(begin):
            m.d.sync += [target.eq(word[width:]), ends.eq(word[width:] == 0)]
        return word[:width], first, target, ends

    def _rom(self, m: Module, name: str, words: list[int], width: int, address: Value, *,
             enable: Value) -> Value:
        block = self.unit.block and len(words) * width > SMALL
        rom: memory.Memory = memory.Memory(
            shape=unsigned(width), depth=len(words), init=words,
            attrs={"rom_style": "block" if block else "logic"})
        m.submodules[name] = rom
        port = rom.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(enable)]
        word: Value = port.data
        return word

    def _input(self, m: Module, step: Value, index: Value) -> Value:
        """Return the input at `index` of the frame, a cycle later."""
        buffer: memory.Memory = memory.Memory(
            shape=self.unit.x, depth=2 << len(index), init=[],
            attrs={"ram_style": "block"} if self.unit.block else {})
        m.submodules.inputs = buffer
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += [write.en.eq(self.write), write.addr.eq(self.at), write.data.eq(self.i),
                     read.addr.eq(Cat(index, self.bank)), read.en.eq(step)]
        x: Value = read.data
        return x

    def _words(self) -> list[int]:
        fmt, names = self.unit.fmt, ("code", "index", "checked", "last")
        words: list[int] = []
        for row in self.rows:
            codes = np.full(len(row.weights), fmt.pad)
            codes[row.weights != 0] = fmt.encode(row.weights[row.weights != 0])
            last = np.arange(len(codes)) == len(codes) - 1
            fields = zip(codes.tolist(), row.index.tolist(), row.checked.tolist(), last.tolist(),
                         strict=True)
            words += [Const.cast(self.word.const(dict(zip(names, word, strict=True)))).value
                      for word in fields]
        return words
