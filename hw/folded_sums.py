"""What units have in common that add up products with the weights on chip, some in each step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.adder_tree import Gate, Sum, add_tree
from bittern.hw.credit import credit
from bittern.hw.loaded_memory import LoadedMemory, image_of
from bittern.hw.pipeline import Stages, draft
from bittern.hw.stream import Queue
from bittern.hw.turns import ONCE, Turns

if TYPE_CHECKING:
    from amaranth.lib.wiring import Member

    from bittern.hw.formats.tile import Term, TileFormat
    from bittern.hw.ints import Ints

__all__ = ["FoldedSums", "ProductCost", "in_block", "is_far", "products_of", "tree_of"]

FAR = 144
"""Bits of a word up to which it has the blocks of memory that it is in nearby."""
BIAS_BLOCK = 4096
"""Bits from which biases are in a block of memory."""


@dataclass(frozen=True)
class ProductCost:
    """Estimated resources of the products of a tile, up to the terms that the tree adds."""

    latency: int
    lut4: int
    ff: int


@lru_cache(maxsize=4096)
def products_of(fmt: TileFormat, x_width: int) -> ProductCost:
    """Return what the products of a tile take."""
    stages = draft(lambda stages: tile_terms(fmt, x_width, stages))
    return ProductCost(stages.latency, fmt.lut4(x_width), stages.ff)


@lru_cache(maxsize=4096)
def tree_of(fmt: TileFormat, x_width: int, simd: int, *, absorbs: bool = False) -> Sum:
    """Return the tree that adds up the products of `simd` inputs, for its latency and size."""
    terms: list[Term] = []
    draft(lambda stages: terms.extend(tile_terms(fmt, x_width, stages)[0]))
    return sum_of(terms * (simd // fmt.columns), "sum", absorbs=absorbs)


def sum_of(terms: list[Term], name: str, *, absorbs: bool) -> Sum:
    """Return the sum of `terms`, bits first as is best for the device."""
    if not absorbs:
        return add_tree(terms, name=name)
    gates = any(isinstance(term, Gate) for term in terms)
    return add_tree(terms, name=name, first="chain" if gates else "halves", chain=64)


def tile_terms(fmt: TileFormat, x_width: int, stages: Stages) -> list[list[Term]]:
    return fmt.multiply_tiles(stages, [Signal(fmt.width)], [Signal(x_width)] * fmt.columns, "term")


def is_far(width: int) -> bool:
    """Return whether words of so many bits are in so many blocks of memory that some are far."""
    return width > FAR


def in_block(rows: int, width: int) -> bool:
    """Return whether a table of biases is a block of memory: as logic, it would be slow."""
    return rows * width >= BIAS_BLOCK


class FoldedSums(wiring.Component):
    """Sums of `in_folds` steps each, for `out_folds` groups of outputs in turn, a step a cycle.

    No path is combinational from ``o`` to the inputs or back: a step that makes a result is taken
    only when there will be room for it, and nothing behind ever stops.

    All terms of the products are unsigned (:class:`~bittern.hw.formats.Format`): a signed input
    has its sign bit inverted, which adds half its range; what that and complements add is taken
    off in the bias. Sums are modulo two to the width of the result, and exact since that holds it.

    A derived class sets the attributes before its ports.
    """

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface
    loaded: Signal

    fmt: TileFormat
    x: Shape
    """Of an input."""
    acc: Shape
    """Of a result."""
    codes: Ints
    """Of the weights, ``(turns * out_folds, in_folds, …)``: those of a step."""
    bias: Ints
    """``(turns * out_folds, pe)``, all that is constant."""
    block: bool
    """Whether weights shall be in block RAM or in LUTs."""
    absorbs: bool
    """Whether the adders of the device take in functions of two operands before them."""
    turns: Turns = ONCE
    """Of the weights and biases."""
    loads: bool = False
    """Whether the weights come at start, through ``load`` (:class:`LoadedMemory`), into SPRAM."""

    def _ports(self, i: stream.Signature, o: stream.Signature) -> dict[str, Member]:
        """Return the members of the unit."""
        loads = {"load": In(stream.Signature(8)), "loaded": Out(1)} if self.loads else {}
        return {"i": In(i), "o": Out(o), **loads}

    @property
    def _words(self) -> tuple[list[int], int]:
        """The weights of each step, and their bits."""
        steps = self.codes.reshape(self.turns.count * self.in_folds * self.out_folds, -1)
        width = self.fmt.width
        return ([sum(int(c) << (j * width) for j, c in enumerate(row)) for row in steps],
                steps.shape[1] * width)

    @property
    def image(self) -> bytes:
        """The bytes that ``load`` takes."""
        return image_of(*self._words)

    @property
    def out_folds(self) -> int:
        """Groups of outputs."""
        return int(self.codes.shape[0]) // self.turns.count

    @property
    def in_folds(self) -> int:
        """Steps of a group."""
        return int(self.codes.shape[1])

    @property
    def pe(self) -> int:
        """Outputs of a group."""
        return int(self.bias.shape[1])

    @property
    @abstractmethod
    def store(self) -> int:
        """Results that are kept for ``o``: as many as are on their way when there is no stall."""

    @abstractmethod
    def _feed(self, m: Module, may: Value, promised: Value
              ) -> tuple[list[Value], list[Value], Value]:
        """Return inputs and codes of a step, in the same cycle, and whether they are there.

        A step that is the last of a group may be taken only in a cycle with `may`, in which it
        drives `promised`.
        """

    @abstractmethod
    def _terms(self, m: Module, x: list[Value], codes: list[Value]) -> list[list[Term]]:
        """Return the terms of the products for each output of the step."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.results = results = Queue(self.o.payload.shape(), self.store)
        wiring.connect(m, results.o, wiring.flipped(self.o))
        promised = Signal() # the step that was taken will give a result
        x, codes, valid = self._feed(m, credit(m, self.store, promised, self.o), promised)
        sums = []
        for p, terms in enumerate(self._terms(m, x, codes)):
            sums.append(sum_of(terms, f"sum_{p}", absorbs=self.absorbs))
            m.d.sync += [q.eq(value) for q, value in sums[-1].registers]
        for level in range(products_of(self.fmt, self.x.width).latency + sums[0].latency):
            valid_q = Signal(name=f"valid_{level}")
            m.d.sync += valid_q.eq(valid)
            valid = valid_q
        self._accumulate(m, valid, sums, results)
        return m

    def _codes(self, m: Module, take: Value) -> tuple[list[Value], Value]:
        """Return the codes of the step that was taken, and whether steps may be taken.

        The order of the codes is known, so a block is read a step ahead, into a register: from the
        clock to the output of a block it takes long, and now nothing else does in that cycle. Where
        words are of many blocks, some are far away: another register, and another step ahead.
        """
        (words, width), steps = self._words, self.in_folds * self.out_folds
        word: Value = Const(words[0], width)
        primed: Value = Const(1)
        if len(words) > 1:
            port, filled = self._weights(m, words, width)
            blocks, ahead = self.block or self.loads, 1 + is_far(width)
            if blocks:
                read = Signal(ahead, name="primed") # that many steps are read
                with m.If(filled):
                    m.d.sync += read.eq(Cat(1, read))
                primed = read[-1]
            m.d.comb += [port.addr.eq(self.turns.address(m, port.en, steps, "next_k")),
                         port.en.eq(take | filled & ~primed)]
            word = port.data
            if blocks:
                if ahead > 1:
                    near = Signal(width, name="near", reset_less=True)
                    with m.If(port.en):
                        m.d.sync += near.eq(word)
                    word = near
                codes = Signal(width, name="codes", reset_less=True)
                m.d.sync += codes.eq(word)
                word = codes
        return [word[j:j + self.fmt.width] for j in range(0, width, self.fmt.width)], primed

    def _weights(self, m: Module, words: list[int], width: int) -> tuple[Any, Value]:
        """Return a port to read the weights, and whether they are there."""
        if self.loads:
            m.submodules.weights = loaded = LoadedMemory(len(words), width)
            wiring.connect(m, wiring.flipped(self.load), loaded.load)
            m.d.comb += self.loaded.eq(loaded.loaded)
            return loaded, loaded.loaded
        m.submodules.weights = weights = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(width), depth=len(words), init=words,
            attrs={"rom_style": "block" if self.block else "logic"})
        return weights.read_port(), Const(1)

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
        if len(words) > 1: # read rows ahead, as the codes are
            block = in_block(len(words), len(word))
            m.submodules.bias = bias = memory.Memory( # type: ignore[var-annotated]
                shape=unsigned(len(word)), depth=len(words), init=words,
                attrs={"rom_style": "block" if block else "logic"})
            port = bias.read_port()
            begun = Signal(1 + block) # reads until the first row is here
            m.d.sync += begun.eq(Cat(1, begun))
            m.d.comb += [port.addr.eq(self.turns.address(m, port.en, self.out_folds, "next_row")),
                         port.en.eq(done | ~begun.all())]
            word = port.data
            if block:
                word = Signal.like(port.data, name="bias_word", reset_less=True)
                with m.If(port.en):
                    m.d.sync += word.eq(port.data)
        for p, total in enumerate(sums):
            acc, initial = (v[p * width:(p + 1) * width]
                            for v in (results.i.payload.as_value(), word))
            base = Mux(start, initial, acc)[:width] if self.in_folds > 1 else initial
            with m.If(valid): # the lowest place makes the carry into the others
                m.d.sync += acc.eq((Cat(total.carry, base) + Cat(total.carry, total.value))[1:])
