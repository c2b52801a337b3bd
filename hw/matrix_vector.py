"""Folded matrix-vector unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.adder_tree import Gate, Sum, add_tree
from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Stages, draft
from bittern.hw.stream import Queue, lanes, transfers

if TYPE_CHECKING:
    from amaranth.lib import stream

    from bittern.hw.formats.tile import Term, TileFormat

__all__ = ["MatrixVectorUnit", "ProductCost", "delay_of", "products_of", "store_of", "tree_of"]


def delay_of(fmt: TileFormat, x_width: int, simd: int, *, in_folds: int, out_folds: int,
             absorbs: bool = False) -> int:
    """Return the cycles from a step to its sum: inputs, products, tree and accumulator.

    Where inputs are kept for several groups of outputs, a register of their buffer adds one.
    """
    replays = in_folds > 1 and out_folds > 1
    return (2 + replays + products_of(fmt, x_width).latency
            + tree_of(fmt, x_width, simd, absorbs=absorbs).latency)


def store_of(delay: int, in_folds: int) -> int:
    """Return the results to keep where one comes every `in_folds` cycles, `delay` after its step.

    Room is given back three cycles after a result came, at the latest.
    """
    return max(-(-(delay + 3) // in_folds), 2)


@dataclass(frozen=True)
class ProductCost:
    """Estimated resources of the products of a tile, up to the terms that the tree adds."""

    latency: int
    lut4: int
    ff: int


@lru_cache(maxsize=4096)
def products_of(fmt: TileFormat, x_width: int) -> ProductCost:
    """Return what the products of a tile take."""
    stages = draft(lambda stages: _tile(fmt, x_width, stages))
    return ProductCost(stages.latency, fmt.lut4(x_width), stages.ff)


@lru_cache(maxsize=4096)
def tree_of(fmt: TileFormat, x_width: int, simd: int, *, absorbs: bool = False) -> Sum:
    """Return the tree that adds up the products of `simd` inputs, for its latency and size."""
    terms: list[Term] = []
    draft(lambda stages: terms.extend(_tile(fmt, x_width, stages)[0]))
    return _add(terms * (simd // fmt.columns), "sum", absorbs=absorbs)


def _add(terms: list[Term], name: str, *, absorbs: bool) -> Sum:
    """Return the sum of `terms`, bits first as is best for the device."""
    if not absorbs:
        return add_tree(terms, name=name)
    gates = any(isinstance(term, Gate) for term in terms)
    return add_tree(terms, name=name, first="chain" if gates else "halves", chain=64)


def _tile(fmt: TileFormat, x_width: int, stages: Stages) -> list[list[Term]]:
    return fmt.multiply_tiles(stages, [Signal(fmt.width)], [Signal(x_width)] * fmt.columns, "term")


class MatrixVectorUnit(wiring.Component):
    """Matrix-vector product with the weights on chip: ``o = weights @ i + bias``, exactly.

    Each step multiplies `simd` inputs by their weights for `pe` outputs. A frame takes
    ``ceil(inputs / simd) * ceil(outputs / pe)`` steps, one a cycle: for each group of outputs all
    of the inputs in turn. Frames follow each other without a gap. Latency: :attr:`latency` cycles
    from a step to its sum on ``o``. No path is combinational from ``o`` to ``i`` or back: a step
    that makes a result is taken only when there will be room for it, and nothing behind ever stops.

    All terms of the products are unsigned (:class:`~bittern.hw.formats.Format`): a signed input
    has its sign bit inverted, which adds half its range; what that and complements add is taken
    off in the bias. Sums are modulo two to the width of the result, and exact since that holds it.

    Source: the schedule is that of the matrix-vector-activation unit of FINN (Umuroglu et al.
    2017, arXiv:1612.07119).

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    fmt : TileFormat
        Holds all of `weights`.
    x : Shape
        Of an input.
    lo, hi : int
        Bounds of the results.
    pe, simd : int
        Outputs and inputs of a step; they need not divide the numbers of outputs and inputs, but
        `simd` is a multiple of the inputs of a tile of `fmt`.
    block : bool
        Whether weights shall be in block RAM or in LUTs.
    absorbs : bool
        Whether the adders of the device take in functions of two operands before them.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), pe))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, weights: Ints, bias: Ints, fmt: TileFormat, *, x: Shape, lo: int, hi: int,
                 pe: int, simd: int, block: bool = True, absorbs: bool = False) -> None:
        outputs, inputs = weights.shape
        if not (1 <= pe <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"pe must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {pe} and {simd}")
        self.fmt, self.x, self.pe, self.simd, self.block = fmt, x, pe, simd, block
        self.absorbs = absorbs
        self.inputs = inputs
        self.in_folds, self.out_folds = transfers(inputs, simd), transfers(outputs, pe)
        if simd % fmt.columns:
            raise ValueError(f"simd must be a multiple of {fmt.columns}, the inputs of a tile of "
                             f"format {fmt.name!r}, not {simd}")
        self.tiles = transfers(pe, fmt.rows), simd // fmt.columns # of a step
        padded = np.full((self.out_folds, self.tiles[0] * fmt.rows, self.in_folds * simd), fmt.fill)
        for k, group in enumerate(padded):
            rows = weights[k * pe:(k + 1) * pe]
            group[:len(rows), :inputs] = rows
        codes = fmt.encode_tiles(padded.reshape(
            self.out_folds, self.tiles[0], fmt.rows, -1, fmt.columns).swapaxes(2, 3))
        lacks = fmt.correct_tiles(codes, x.width).sum(axis=2).reshape(self.out_folds, -1)
        constant = bias + lacks[:, :pe].reshape(-1)[:outputs]
        if x.signed:
            constant -= weights.sum(axis=1) << (x.width - 1)
        self.codes = codes.reshape(self.out_folds, self.tiles[0], self.in_folds, self.tiles[1]
                                   ).swapaxes(1, 2)
        self.bias = np.zeros((self.out_folds, pe), dtype=np.int64)
        self.bias.flat[:outputs] = constant
        self.acc = shape_of(lo, hi)
        super().__init__({"i": In(lanes(x, simd)), "o": Out(lanes(self.acc, pe))})

    @property
    def delay(self) -> int:
        """Cycles from a step to its sum."""
        return delay_of(self.fmt, self.x.width, self.simd, in_folds=self.in_folds,
                        out_folds=self.out_folds, absorbs=self.absorbs)

    @property
    def store(self) -> int:
        """Results that are kept for ``o``: as many as are on their way when there is no stall."""
        return store_of(self.delay, self.in_folds)

    @property
    def latency(self) -> int:
        """Cycles from a step to its sum on ``o``."""
        return self.delay + Queue.latency_of(self.store)

    @property
    def _steps(self) -> int:
        return self.in_folds * self.out_folds

    @property
    def _replays(self) -> bool:
        """Whether the inputs of a frame are kept for several groups of outputs."""
        return self.in_folds > 1 and self.out_folds > 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.results = results = Queue(self.o.payload.shape(), self.store)
        wiring.connect(m, results.o, wiring.flipped(self.o))
        promised = Signal() # the step that was taken will give a result
        may = self._credit(m, promised)
        x, codes, last_in, valid = self._feed(m, may, promised)
        if self.x.signed:
            x = [Cat(v[:-1], ~v[-1]) for v in x]
        if self.fmt.masks: # lanes beyond the inputs in the last step of a row
            used = self.inputs - (self.in_folds - 1) * self.simd
            x[used:] = [Mux(last_in, 0, v)[:self.x.width] for v in x[used:]]
        # products of the inputs of a tile by the weights of all outputs
        columns = self.fmt.columns
        products = [self.fmt.multiply_tiles(Stages(m), codes[s::self.tiles[1]],
                                            x[s * columns:(s + 1) * columns], f"term_{s}")
                    for s in range(self.tiles[1])]
        sums = []
        for p in range(self.pe):
            sums.append(_add([term for lane in products for term in lane[p]], f"sum_{p}",
                             absorbs=self.absorbs))
            m.d.sync += [q.eq(value) for q, value in sums[-1].registers]
        for level in range(products_of(self.fmt, self.x.width).latency + sums[0].latency):
            valid_q = Signal(name=f"valid_{level}")
            m.d.sync += valid_q.eq(valid)
            valid = valid_q
        self._accumulate(m, valid, sums, results)
        return m

    def _credit(self, m: Module, promised: Value) -> Value:
        """Return whether a step may give a result: there will be room for it.

        Nothing stops what is on its way, so that no signal has to reach all of its registers.
        """
        free, may = Signal(range(self.store + 1), init=self.store), Signal(init=1)
        left = Signal.like(free)
        m.d.comb += left.eq(free - promised + (self.o.valid & self.o.ready))
        m.d.sync += [free.eq(left), may.eq(left != 0)]
        return may

    def _feed(self, m: Module, may: Value, promised: Value
              ) -> tuple[list[Value], list[Value], Value, Value]:
        """Return inputs, codes of the weights, whether it is a row's last step, and valid."""
        x = Signal(self.i.payload.shape().size, name="x", reset_less=True)
        last_in, valid, take = Signal(), Signal(), Signal()
        codes, primed = self._codes(m, take)
        m.d.sync += valid.eq(take)
        if self._replays:
            self._replay(m, may=may, promised=promised, take=take, x=x, last_in=last_in)
        else:
            k = Signal(range(self._steps))
            first = Const(1) if self.out_folds == 1 else k == 0
            last = Const(1) if self.in_folds == 1 else k == self._steps - 1
            ready = primed & (may | ~last)
            m.d.comb += [take.eq(ready & (self.i.valid | ~first)), self.i.ready.eq(ready & first),
                         promised.eq(take & last)]
            with m.If(take):
                m.d.sync += k.eq(Mux(k == self._steps - 1, 0, k + 1))
            m.d.sync += last_in.eq(last)
            if self.out_folds == 1:
                m.d.sync += x.eq(self.i.payload)
            else:
                with m.If(take & first):
                    m.d.sync += x.eq(self.i.payload)
        n = self.x.width
        return [x[s * n:(s + 1) * n] for s in range(self.simd)], codes, last_in, valid

    def _codes(self, m: Module, take: Value) -> tuple[list[Value], Value]:
        """Return the codes of the step that was taken, and whether steps may be taken.

        The order of the codes is known, so a block is read a step ahead, into a register: from the
        clock to the output of a block it takes long, and now nothing else does in that cycle.
        """
        width = self.fmt.width
        frame = self.codes.reshape(self._steps, -1)
        words = [sum(int(c) << (j * width) for j, c in enumerate(row)) for row in frame]
        word: Value = Const(words[0], frame.shape[1] * width)
        primed: Value = Const(1)
        if self._steps > 1:
            if self.block:
                primed = Signal(name="primed")
                m.d.sync += primed.eq(1)
            m.submodules.weights = weights = memory.Memory( # type: ignore[var-annotated]
                shape=unsigned(len(word)), depth=self._steps, init=words,
                attrs={"rom_style": "block" if self.block else "logic"})
            port, next_k = weights.read_port(), Signal(range(self._steps), name="next_k")
            m.d.comb += [port.addr.eq(next_k), port.en.eq(take | ~primed)]
            with m.If(port.en):
                m.d.sync += next_k.eq(Mux(next_k == self._steps - 1, 0, next_k + 1))
            word = port.data
            if self.block:
                word = Signal.like(port.data, name="codes", reset_less=True)
                m.d.sync += word.eq(port.data)
        return [word[j * width:(j + 1) * width] for j in range(frame.shape[1])], primed

    def _replay(self, m: Module, *, may: Value, promised: Value, take: Value, x: Value,
                last_in: Value) -> None:
        """Keep the inputs of a frame for all groups of outputs, while the next frame comes in."""
        bank = 1 << (self.in_folds - 1).bit_length()
        m.submodules.buffer = buffer = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(len(x)), depth=2 * bank, init=[],
            attrs={"ram_style": "block"} if self.block else {})
        write, read = buffer.write_port(), buffer.read_port()
        w, r = Signal(range(bank)), Signal(range(bank))
        w_bank, r_bank, full = Signal(), Signal(), Signal(2)
        group = Signal(range(self.out_folds))
        issue, found, last_found = Signal(), Signal(), Signal()
        w_last, r_last = w == self.in_folds - 1, r == self.in_folds - 1
        arrived = full.bit_select(r_bank, 1) | (r_bank == w_bank) & (r < w)
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(w_bank, 1)),
            write.en.eq(self.i.valid & self.i.ready), write.addr.eq(Cat(w, w_bank)),
            write.data.eq(self.i.payload), issue.eq(arrived & (may | ~r_last)),
            promised.eq(issue & r_last), read.addr.eq(Cat(r, r_bank)), take.eq(found),
        ]
        m.d.sync += [found.eq(issue), last_found.eq(r_last),
                     x.eq(read.data), last_in.eq(last_found)]
        with m.If(issue):
            m.d.sync += r.eq(Mux(r_last, 0, r + 1))
            with m.If(r_last):
                m.d.sync += group.eq(group + 1)
                with m.If(group == self.out_folds - 1):
                    m.d.sync += [group.eq(0), r_bank.eq(~r_bank),
                                 full.bit_select(r_bank, 1).eq(0)]
        with m.If(write.en):
            m.d.sync += w.eq(Mux(w_last, 0, w + 1))
            with m.If(w_last):
                m.d.sync += [w_bank.eq(~w_bank), full.bit_select(w_bank, 1).eq(1)]

    def _accumulate(self, m: Module, valid: Value, sums: list[Sum], results: Queue) -> None:
        """Add the sums of a row's steps to its bias. Rows come in order: a counter knows which."""
        k, done = Signal(range(self.in_folds)), Signal()
        start = Signal(init=1) # of a row: a register, since it goes to every bit
        last = k == self.in_folds - 1
        m.d.comb += done.eq(valid & last)
        m.d.sync += results.i.valid.eq(done)
        with m.If(valid):
            m.d.sync += [k.eq(Mux(last, 0, k + 1)), start.eq(last)]
        width = self.acc.width
        masked = self.bias & ((1 << width) - 1)
        words = [sum(int(b) << (p * width) for p, b in enumerate(group)) for group in masked]
        word: Value = Const(words[0], self.pe * width)
        if self.out_folds > 1: # read a row ahead, as the codes are
            m.submodules.bias = bias = memory.Memory( # type: ignore[var-annotated]
                shape=unsigned(len(word)), depth=self.out_folds, init=words,
                attrs={"rom_style": "logic"})
            port, next_row = bias.read_port(), Signal(range(self.out_folds), name="next_row")
            first = Signal(init=1)
            m.d.sync += first.eq(0)
            m.d.comb += [port.addr.eq(next_row), port.en.eq(done | first)]
            with m.If(port.en):
                m.d.sync += next_row.eq(Mux(next_row == self.out_folds - 1, 0, next_row + 1))
            word = port.data
        for p, total in enumerate(sums):
            acc, initial = (v[p * width:(p + 1) * width]
                            for v in (results.i.payload.as_value(), word))
            base = Mux(start, initial, acc)[:width] if self.in_folds > 1 else initial
            with m.If(valid): # the lowest place makes the carry into the others
                m.d.sync += acc.eq((Cat(total.carry, base) + Cat(total.carry, total.value))[1:])
