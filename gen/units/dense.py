# amaranth: UnusedElaboratable=no
"""Unit that multiplies by every weight: codes of equal width, one for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import LOADER, Cost, rom_lut, sprams
from bittern.gen.ir import Fold
from bittern.gen.timing import Buffer, Steps
from bittern.gen.units.unit import Unit, sentence
from bittern.hw.credit import store_of
from bittern.hw.folded_sums import in_block, is_far, products_of, tree_of
from bittern.hw.formats import FORMATS, TILES, TileFormat
from bittern.hw.matrix_vector import MatrixVectorUnit, delay_of
from bittern.hw.stream import transfers
from bittern.hw.turns import Turns

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.ints import Ints

__all__ = ["DenseUnit"]

BLOCK_BITS = 1024
"""Weights of fewer bits are in LUTs: a block of memory would stand mostly empty."""
CONTROL = 100
"""LUTs that count steps and results, as synthesized for KWS."""
TREE = 64
"""Inputs of trees that are made to be counted."""


@dataclass(frozen=True, eq=False)
class DenseUnit(Unit):
    """Products with all weights, as codes of a format; see :class:`MatrixVectorUnit`."""

    weights: Ints
    fmt: TileFormat
    absorbs: bool = False
    turns: int = 1
    """Sets of weights, one after the other: each for a frame."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.fmt.name

    @classmethod
    def formats(cls) -> dict[str, str]:
        return {kind.name: sentence(kind) for kind in (*FORMATS, *TILES)}

    @classmethod
    def find(cls, weights: Ints, *, absorbs: bool = False) -> list[Self]:
        return [cls(weights, fmt, absorbs) for kind in (*FORMATS, *TILES)
                if (fmt := kind.find(weights))]

    @property
    def bits(self) -> int:
        (outputs, inputs), fmt = self._shape, self.fmt
        return (self.turns * transfers(outputs, fmt.rows) * transfers(inputs, fmt.columns)
                * fmt.width)

    @property
    def _shape(self) -> tuple[int, int]:
        """Outputs and inputs of a vector."""
        return len(self.weights) // self.turns, self.weights.shape[1]

    @property
    def how(self) -> str:
        rows, columns = self.fmt.rows, self.fmt.columns
        return f"{self.fmt.width} bit" + f" for {rows}x{columns}" * (rows * columns > 1)

    def folds(self, x: Shape) -> list[Fold]:
        if not self.fmt.takes(x.width):
            return []
        # of the lanes that take the same number of steps, the fewest
        pes, simds = ({transfers(n, transfers(n, k)) for k in range(1, n + 1)}
                      for n in self._shape)
        columns, inputs = self.fmt.columns, self.weights.shape[1]
        simds = {min(transfers(simd, columns) * columns, inputs // columns * columns)
                 for simd in simds}
        return [Fold(pe, simd, self.name) for pe in sorted(pes) for simd in sorted(simds)]

    def _tiles(self, fold: Fold) -> int:
        return transfers(fold.pe, self.fmt.rows) * (fold.simd // self.fmt.columns)

    def _folds(self, fold: Fold) -> tuple[int, int]:
        outputs, inputs = self._shape
        return transfers(inputs, fold.simd), transfers(outputs, fold.pe)

    def cycles(self, fold: Fold) -> int:
        in_folds, out_folds = self._folds(fold)
        return in_folds * out_folds

    def multipliers(self, fold: Fold) -> int:
        return self._tiles(fold) * self.fmt.multipliers

    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int, *,
              vectors: int = 1) -> MatrixVectorUnit:
        """As of :class:`Unit`; a frame has so many `vectors`."""
        return MatrixVectorUnit(self.weights, bias, self.fmt, x=x, lo=lo, hi=hi, pe=fold.pe,
                                simd=fold.simd, block=self._in_blocks(fold),
                                absorbs=self.absorbs, turns=Turns(self.turns, vectors),
                                loads=fold.spram)

    def _delay(self, fold: Fold, x: Shape) -> int:
        in_folds, out_folds = self._folds(fold)
        return delay_of(self.fmt, x.width, fold.simd, in_folds=in_folds, out_folds=out_folds,
                        absorbs=self.absorbs)

    def timing(self, fold: Fold, x: Shape) -> Steps:
        in_folds, out_folds = self._folds(fold)
        row = (*[False] * (in_folds - 1), True)
        replays = in_folds > 1 and out_folds > 1
        takes = (True, *[out_folds == 1] * (in_folds * out_folds - 1))
        delay = self._delay(fold, x)
        return Steps((False,) * len(takes) if replays else takes, row * out_folds, delay,
                     store=store_of(delay, in_folds),
                     buffer=Buffer.replay(len(takes), in_folds) if replays else None)

    def memory(self, fold: Fold) -> tuple[int, int]:
        """Return words and bits of the memory of the weights."""
        in_folds, out_folds = self._folds(fold)
        return self.turns * in_folds * out_folds, self._tiles(fold) * self.fmt.width

    def _in_blocks(self, fold: Fold) -> bool:
        depth, width = self.memory(fold)
        return depth * width >= BLOCK_BITS and depth >= 32

    def _tree(self, x_width: int, simd: int) -> tuple[int, int, int]:
        """Estimate LUTs, flip-flops and latency of a tree: a large one is several and their sum."""
        columns = self.fmt.columns
        parts = transfers(simd, max(TREE, columns))
        tree = tree_of(self.fmt, x_width, transfers(simd // columns, parts) * columns,
                       absorbs=self.absorbs)
        more = (parts - 1) * len(tree.value)
        return (parts * tree.lut4 + more, parts * tree.ff + more,
                tree.latency + (parts - 1).bit_length())

    def cost(self, fold: Fold, x: Shape, acc_width: int) -> Cost:
        in_folds, out_folds = self._folds(fold)
        product = products_of(self.fmt, x.width)
        tree_lut4, tree_ff, tree_latency = self._tree(x.width, fold.simd)
        tiles = self._tiles(fold)
        adder = acc_width * (2 if in_folds > 1 else 1)
        replays = in_folds > 1 and out_folds > 1
        kept = store_of(2 + replays + product.latency + tree_latency, in_folds)
        depth, width = self.memory(fold)
        inputs = fold.simd * x.width
        lut = (tiles * product.lut4 + fold.pe * (tree_lut4 + adder)
               + CONTROL)
        bare = inputs + fold.pe * max(tree_ff - tree_lut4, 0)
        memories: tuple[tuple[int, int], ...] = ()
        if fold.spram:
            lut, bare = lut + LOADER, bare + width
        elif self._in_blocks(fold):
            memories, bare = ((depth, width),), bare + width * (1 + is_far(width))
        else:
            lut += rom_lut(depth, width)
        rows = self.turns * out_folds
        if in_block(rows, fold.pe * acc_width):
            memories += ((rows, fold.pe * acc_width),)
        else:
            lut += rom_lut(rows, fold.pe * acc_width)
        if kept == 2:
            lut, bare = lut + fold.pe * acc_width, bare + fold.pe * acc_width
        else:
            memories += ((kept, fold.pe * acc_width),)
        ff = tiles * product.ff + fold.pe * (tree_ff + 2 * acc_width) + bare + 40
        if self.fmt.dsp: # no LUT is before the registers around a multiplier of the device
            bare += tiles * product.ff
        if replays:
            lut += 30
            memories += ((2 << (in_folds - 1).bit_length(), fold.simd * x.width),)
        return Cost(lut, ff, memories, bare, dsp=tiles * self.fmt.dsp,
                    port=max(self.fmt.port, x.width) if self.fmt.dsp else self.fmt.port,
                    spram=sprams(depth, width) if fold.spram else 0)
