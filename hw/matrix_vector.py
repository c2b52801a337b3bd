"""Folded matrix-vector unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory

from bittern.hw.credit import store_of
from bittern.hw.folded_sums import FoldedSums, products_of, tree_of
from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Stages
from bittern.hw.stream import Queue, lanes, transfers
from bittern.hw.turns import ONCE, Turns

if TYPE_CHECKING:
    from bittern.hw.formats.tile import Term, TileFormat

__all__ = ["MatrixVectorUnit", "delay_of"]


def delay_of(fmt: TileFormat, x_width: int, simd: int, *, in_folds: int, out_folds: int,
             absorbs: bool = False) -> int:
    """Return the cycles from a step to its sum: inputs, products, tree and accumulator.

    Where inputs are kept for several groups of outputs, a register of their buffer adds one.
    """
    replays = in_folds > 1 and out_folds > 1
    return (2 + replays + products_of(fmt, x_width).latency
            + tree_of(fmt, x_width, simd, absorbs=absorbs).latency)


class MatrixVectorUnit(FoldedSums):
    """Matrix-vector product with the weights on chip: ``o = weights @ i + bias``, exactly.

    Each step multiplies `simd` inputs by their weights for `pe` outputs. A frame takes
    ``ceil(inputs / simd) * ceil(outputs / pe)`` steps, one a cycle: for each group of outputs all
    of the inputs in turn. Frames follow each other without a gap. Latency: :attr:`latency` cycles
    from a step to its sum on ``o``. See :class:`FoldedSums`.

    Source: the schedule is that of the matrix-vector-activation unit of FINN (Umuroglu et al.
    2017, arXiv:1612.07119).

    Parameters
    ----------
    weights : array ``(turns * outputs, inputs)``
    bias : array ``(turns * outputs,)``
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
    turns : Turns
        Of `weights` and `bias`.
    loads : bool
        As of :class:`FoldedSums`.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), pe))``
    load, loaded
        As of :class:`~bittern.hw.loaded_memory.LoadedMemory`, if the unit loads.
    """

    def __init__(self, weights: Ints, bias: Ints, fmt: TileFormat, *, x: Shape, lo: int, hi: int,
                 pe: int, simd: int, block: bool = True, absorbs: bool = False,
                 turns: Turns = ONCE, loads: bool = False) -> None:
        outputs, inputs = len(weights) // turns.count, weights.shape[1]
        if not (1 <= pe <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"pe must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {pe} and {simd}")
        self.fmt, self.x, self.simd, self.block, self.absorbs = fmt, x, simd, block, absorbs
        self.inputs, self.turns, self.loads = inputs, turns, loads
        in_folds, out_folds = transfers(inputs, simd), transfers(outputs, pe)
        if simd % fmt.columns:
            raise ValueError(f"simd must be a multiple of {fmt.columns}, the inputs of a tile of "
                             f"format {fmt.name!r}, not {simd}")
        self.tiles = transfers(pe, fmt.rows), simd // fmt.columns # of a step
        groups = turns.count * out_folds
        padded = np.full((groups, self.tiles[0] * fmt.rows, in_folds * simd), fmt.fill)
        constant = np.zeros((groups, pe), dtype=np.int64)
        for k, (tiles, sums) in enumerate(zip(padded, constant, strict=True)):
            turn, group = divmod(k, out_folds)
            of = slice(turn * outputs + group * pe, turn * outputs + min(group * pe + pe, outputs))
            rows = weights[of]
            tiles[:len(rows), :inputs] = rows
            sums[:len(rows)] = bias[of]
            if x.signed:
                sums[:len(rows)] -= rows.sum(axis=1) << (x.width - 1)
        codes = fmt.encode_tiles(padded.reshape(
            groups, self.tiles[0], fmt.rows, -1, fmt.columns).swapaxes(2, 3))
        lacks = fmt.correct_tiles(codes, x.width).sum(axis=2).reshape(groups, -1)
        self.bias = constant + lacks[:, :pe]
        self.codes = codes.reshape(groups, self.tiles[0], in_folds, self.tiles[1]
                                   ).swapaxes(1, 2)
        self.acc = shape_of(lo, hi)
        super().__init__(self._ports(lanes(x, simd), lanes(self.acc, pe)))

    @property
    def delay(self) -> int:
        """Cycles from a step to its sum."""
        return delay_of(self.fmt, self.x.width, self.simd, in_folds=self.in_folds,
                        out_folds=self.out_folds, absorbs=self.absorbs)

    @property
    def store(self) -> int:
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

    def _feed(self, m: Module, may: Value, promised: Value
              ) -> tuple[list[Value], list[Value], Value]:
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
        xs = [x[s * n:(s + 1) * n] for s in range(self.simd)]
        if self.x.signed:
            xs = [Cat(v[:-1], ~v[-1]) for v in xs]
        if self.fmt.masks: # lanes beyond the inputs in the last step of a row
            used = self.inputs - (self.in_folds - 1) * self.simd
            xs[used:] = [Mux(last_in, 0, v)[:n] for v in xs[used:]]
        return xs, codes, valid

    def _terms(self, m: Module, x: list[Value], codes: list[Value]) -> list[list[Term]]:
        # products of the inputs of a tile by the weights of all outputs
        columns, across = self.fmt.columns, self.tiles[1]
        products = [self.fmt.multiply_tiles(Stages(m), codes[s::across],
                                            x[s * columns:(s + 1) * columns], f"term_{s}")
                    for s in range(across)]
        return [[term for lane in products for term in lane[p]] for p in range(self.pe)]

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
