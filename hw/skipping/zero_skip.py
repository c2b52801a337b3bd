"""Skipping of zero activations when they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Pipeline, Stages
from bittern.hw.skipping.signed_product import (
    SignedProduct,
    add,
    products_latency,
    signed_products,
)
from bittern.hw.stream import lanes, transfers

if TYPE_CHECKING:
    from amaranth import Shape, Value

    from bittern.hw.formats.format import Format

__all__ = ["Groups", "NonZeroStream", "ZeroSkippingUnit", "first_of"]


def first_of(mask: Value) -> tuple[Value, Value]:
    """Return which is the lowest bit that is set, as a number, and the other bits that are set.

    Two to four LUTs a bit.
    """
    n = len(mask)
    rest = (Cat(mask[k] & mask[:k].any() for k in range(n)) if n <= 8 # else a chain is smaller
            else (mask & (mask - 1))[:n])
    one = mask & ~rest
    index = Cat(Cat(one[k] for k in range(n) if k >> b & 1).any()
                for b in range((n - 1).bit_length()))
    return index, rest


@dataclass(frozen=True)
class Groups:
    """What :class:`NonZeroStream` takes `simd` at a time, and when: frames of `features`."""

    features: int
    simd: int

    @property
    def count(self) -> int:
        """Transfers of a frame."""
        return transfers(self.features, self.simd)

    def counts(self, x: Ints) -> Ints:
        """Return the non-zeros of each transfer of frames ``(frames, features)``: one axis."""
        padded = np.zeros((len(x), self.count * self.simd), dtype=np.int64)
        padded[:, :self.features] = x != 0
        counts: Ints = padded.reshape(-1, self.simd).sum(axis=1)
        return counts

    def cycles(self, x: Ints, *, interval: int) -> Ints:
        """Return when the last non-zero of each of frames ``(frames, features)`` is taken.

        What is behind keeps each for `interval` cycles until it takes it.
        """
        # of the last transfer kept: when it was in place, and when its last non-zero left that
        placed, left, dropped = 1, 2 - interval, 0
        ends = []
        for k, count in enumerate(self.counts(x).tolist()):
            last = k % self.count == self.count - 1
            if not count and not last:
                dropped += 1
                continue
            placed = max(left + 1, placed + dropped + 1)
            left = max(placed, left + interval) + (max(count, 1) - 1) * interval
            dropped = 0
            if last:
                ends.append(left + interval)
        return np.array(ends)


class NonZeroStream(wiring.Component):
    """The activations that are not zero, one by one, with their places in the frame.

    One a cycle. A frame is as many transfers of ``o`` as it has activations that are not zero; one
    more, of value 0, where its last transfer of ``i`` has none: there is always a last one.

    Two transfers of ``i`` are held, the second while the first is given, and one without non-zeros
    is dropped when it comes, unless it is a frame's last. So one with `n` non-zeros takes `n`
    cycles, and no cycle is lost where fewer than `n` come behind it that have none: in all
    ``max(n, 1 + dropped behind it)``. :meth:`cycles` tells exactly. Latency: 3 cycles to the first.
    ``ready`` passes combinationally from ``o`` to ``i``.

    Source: J. Albericio et al., "Cnvlutin: ineffectual-neuron-free deep neural network computing"
    (ISCA 2016), and the non-zero detection of EIE (S. Han et al., arXiv:1602.01528).

    Parameters
    ----------
    x : Shape
        Of an activation.
    features : int
        Activations of a frame.
    simd : int
        Activations of a transfer; it need not divide `features`. Lanes beyond these are ignored.
    stride : int
        How far apart the indices of neighbours are: where something is kept for each of them that
        takes `stride` addresses.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out``, stream of a struct
        - ``index``: `stride` times the place in the frame
        - ``value``: of shape `x`
        - ``last``: whether it is the frame's last
    """

    i: stream.Interface
    o: stream.Interface

    latency = 3

    def __init__(self, x: Shape, features: int, *, simd: int, stride: int = 1) -> None:
        if features < 1:
            raise ValueError(f"features must be at least 1, not {features}")
        if not 1 <= simd <= features:
            raise ValueError(f"simd must be in 1..{features}, not {simd}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1, not {stride}")
        self.x, self.features, self.simd, self.stride = x, features, simd, stride
        self.groups = Groups(features, simd)
        payload = data.StructLayout({"index": range((features - 1) * stride + 1), "value": x,
                                     "last": 1})
        super().__init__({"i": In(lanes(x, simd)), "o": Out(stream.Signature(payload))})

    def cycles(self, x: Ints) -> Ints:
        """Return when the last transfer of each of frames ``(frames, features)`` leaves ``o``.

        In cycles from that which takes the first transfer of the first frame, where none is kept
        waiting on either side.
        """
        return self.groups.cycles(x, interval=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n, width, parts = self.simd, self.x.width, self.i.payload.as_value()
        mask = Signal(n)
        m.d.comb += mask.eq(Cat(parts[k * width:(k + 1) * width].any() for k in range(n)))
        final, base = self._count(m)
        if over := self.groups.count * n - self.features:
            m.d.comb += mask[n - over:].eq(Cat(parts[k * width:(k + 1) * width].any() & ~final
                                               for k in range(n - over, n)))
        # the transfer that is given, and before it the next one
        ahead, here = ([Signal(v.shape(), name=f"{name}_{k}", reset_less=True)
                        for k, v in enumerate((mask, parts, final, base))]
                       for name in ("ahead", "here"))
        ahead_valid, here_valid, step, move = (Signal(name=name) for name in (
            "ahead_valid", "here_valid", "step", "move"))
        left, x, last, origin = here
        lane, rest = first_of(left)
        done = ~rest.any()
        m.d.comb += [step.eq(~self.o.valid | self.o.ready), move.eq(~here_valid | step & done),
                     self.i.ready.eq(~ahead_valid | move)]
        with m.If(self.i.ready):
            m.d.sync += [*(q.eq(v) for q, v in zip(ahead, (mask, parts, final, base),
                                                   strict=True)),
                         ahead_valid.eq(self.i.valid & (mask.any() | final))]
        with m.If(move):
            m.d.sync += [*(q.eq(v) for q, v in zip(here, ahead, strict=True)),
                         here_valid.eq(ahead_valid)]
        with m.Elif(step):
            m.d.sync += left.eq(rest)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(here_valid), self.o.payload.last.eq(last & done),
                         self.o.payload.value.eq(self._select(x, lane)),
                         self.o.payload.index.eq(self._index(origin, left & ~rest, lane))]
        return m

    def _count(self, m: Module) -> tuple[Value, Value]:
        """Return whether a transfer of ``i`` is a frame's last, and the index of its first lane."""
        k = Signal(range(self.groups.count), name="group")
        final = k == self.groups.count - 1
        step = self.simd * self.stride
        take = self.i.valid & self.i.ready
        with m.If(take):
            m.d.sync += k.eq(Mux(final, 0, k + 1))
        if self.groups.count == 1:
            return Const(1, 1), Const(0, 0)
        if not step & (step - 1): # the count is the upper bits of the index
            return final, k
        base = Signal(range((self.groups.count - 1) * step + 1))
        with m.If(take):
            m.d.sync += base.eq(Mux(final, 0, base + step))
        return final, base

    def _index(self, base: Value, one: Value, lane: Value) -> Value:
        step = self.simd * self.stride
        bits = (step - 1).bit_length()
        place = lane if self.stride == 1 else Cat(
            Cat(one[k] for k in range(self.simd) if k * self.stride >> b & 1).any()
            for b in range(bits))
        return base + place if step & (step - 1) else Cat(place, base)

    def _select(self, parts: Value, lane: Value) -> Value:
        width = self.x.width
        elements: list[Value] = [parts[k * width:(k + 1) * width] for k in range(self.simd)]
        for bit in lane: # a tree of multiplexers, of which four inputs take two LUTs
            elements = [Mux(bit, elements[k + 1], elements[k]) if k + 1 < len(elements)
                        else elements[k] for k in range(0, len(elements), 2)]
        return elements[0]


class ZeroSkippingUnit(wiring.Component):
    """Matrix-vector product that skips zero activations: ``o = weights @ i + bias``, exactly.

    Each activation that is not zero is multiplied by its column of weights, `pe` of these in each
    step, one step a cycle: ``ceil(outputs / pe)`` steps. A frame takes as many times the transfers
    of its :class:`NonZeroStream`; results come during the last of these, and frames follow each
    other without a gap. :meth:`cycles` tells exactly when. Latency: :attr:`latency` cycles from a
    step to its result on ``o``. ``ready`` passes combinationally from ``o`` to ``i``.

    Source: EIE (S. Han et al., arXiv:1602.01528), with dense weights; Cnvlutin (J. Albericio et
    al., ISCA 2016).

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    fmt : Format
        Holds all of `weights`.
    x : Shape
        Of an input.
    lo, hi : int
        Bounds of the results.
    pe : int
        Outputs of a step; it need not divide the number of outputs.
    simd : int
        Inputs of a transfer; it need not divide the number of inputs.
    block : bool
        Whether weights and sums shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), pe))``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, weights: Ints, bias: Ints, fmt: Format, *, x: Shape, lo: int, hi: int,
                 pe: int, simd: int, block: bool = True) -> None:
        outputs, inputs = weights.shape
        if not (1 <= pe <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"pe must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {pe} and {simd}")
        self.fmt, self.x, self.pe, self.block = fmt, x, pe, block
        self.out_folds = transfers(outputs, pe)
        self.groups = Groups(inputs, simd)
        codes = np.full((self.out_folds * pe, inputs), fmt.pad)
        codes[:outputs] = fmt.encode(weights)
        self.codes = codes.T.reshape(-1, pe)
        self.bias = np.zeros((self.out_folds, pe), dtype=np.int64)
        self.bias.flat[:outputs] = bias
        self.acc = shape_of(lo, hi)
        super().__init__({"i": In(lanes(x, simd)), "o": Out(lanes(self.acc, pe))})

    @property
    def latency(self) -> int:
        """Cycles from a step to its result: to the codes, product, result."""
        return 2 + self.block + products_latency(self.fmt, self.x)

    def cycles(self, x: Ints) -> Ints:
        """Return when the last result of each of frames ``(frames, inputs)`` leaves ``o``.

        In cycles from that which takes the first transfer of the first frame, where none is kept
        waiting on either side.
        """
        return self.groups.cycles(x, interval=self.out_folds) + self.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nonzeros = nonzeros = NonZeroStream(
            self.x, self.groups.features, simd=self.groups.simd, stride=self.out_folds)
        wiring.connect(m, wiring.flipped(self.i), nonzeros.i)
        steps = stream.Signature(0).create()
        pipeline = Pipeline(m, steps, self.o)
        folds, entry = self.out_folds, nonzeros.o.payload
        fold, first = Signal(range(folds)), Signal(init=1)
        last_fold = fold == folds - 1
        m.d.comb += [steps.valid.eq(nonzeros.o.valid), nonzeros.o.ready.eq(steps.ready & last_fold)]
        with m.If(steps.valid & steps.ready):
            m.d.sync += fold.eq(Mux(last_fold, 0, fold + 1))
            with m.If(last_fold):
                m.d.sync += first.eq(entry.last)
        # a power of two of steps: the index ends in as many zeros as their number has bits
        address = entry.index + fold if folds & (folds - 1) else entry.index | fold
        word = self._codes(m, pipeline, address[:(len(self.codes) - 1).bit_length()])
        x, *flags = pipeline.stage([entry.value, entry.last, first, fold], "step")
        if self.block: # from the clock to the output of a block it takes long
            word, x, *flags = pipeline.stage([word, x, *flags], "codes")
        width, before = self.fmt.width, pipeline.latency
        products = signed_products(self.fmt, pipeline, [
            word[p * width:(p + 1) * width] for p in range(self.pe)], x, "product")
        beside = Stages(m, pipeline.enable)
        for level in range(pipeline.latency - before):
            ahead, flags = flags, beside.stage(flags, f"flags_{level}")
        totals = self._accumulate(m, pipeline, products, ahead[-1], flags)
        pipeline.valid = pipeline.valid & flags[0]
        pipeline.finish(pipeline.stage(totals, "result"))
        return m

    def _codes(self, m: Module, pipeline: Pipeline, address: Value) -> Value:
        """Return the codes of the step whose address is given, a level later."""
        width = self.fmt.width
        words = [sum(int(c) << (p * width) for p, c in enumerate(row)) for row in self.codes]
        m.submodules.weights = weights = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(self.pe * width), depth=len(words), init=words,
            attrs={"rom_style": "block" if self.block else "logic"})
        port = weights.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(pipeline.enable)]
        code: Value = port.data
        return code

    def _accumulate(self, m: Module, pipeline: Pipeline, products: list[SignedProduct],
                    ahead: Value, flags: list[Value]) -> list[Value]:
        """Return the sums with `products`; `ahead` are the outputs of the next ones."""
        width, (last, first, fold) = self.acc.width, flags
        words = [sum(int(b & (1 << width) - 1) << (p * width) for p, b in enumerate(group))
                 for group in self.bias]
        acc = Signal(self.pe * width, reset_less=True)
        totals = [add(acc[p * width:(p + 1) * width], product, width)
                  for p, product in enumerate(products)]
        add_up = pipeline.enable & pipeline.valid
        if self.out_folds == 1:
            clear = Signal(init=1) # so that the registers' reset is free for the bias
            m.d.sync += clear.eq(0)
            with m.If(clear | add_up & last):
                m.d.sync += acc.eq(words[0])
            with m.Elif(add_up):
                m.d.sync += acc.eq(Cat(totals))
            return totals
        # read in one step and written in the next: no sooner is it wanted again
        m.submodules.sums = sums = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(len(acc)), depth=self.out_folds, init=[],
            attrs={"ram_style": "block"} if self.block else {})
        read, write = sums.read_port(), sums.write_port()
        bias = pipeline.table(words, len(acc), ahead, "bias")
        m.d.comb += [
            read.addr.eq(ahead), read.en.eq(pipeline.enable), acc.eq(Mux(first, bias, read.data)),
            write.addr.eq(fold), write.en.eq(add_up), write.data.eq(Cat(totals))]
        return totals
