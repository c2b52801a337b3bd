"""Cost: resources of hardware, estimated before it is synthesized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["KINDS", "LOADER", "Cost", "Estimate", "Target", "rom_lut", "sprams"]

KINDS = {"lut4": "LUT4s", "ff": "flip-flops", "dsp": "DSPs", "bram": "memories",
         "spram": "SPRAMs"}
"""What there is of a device, by its names in results."""
SPRAM = (16384, 16)
"""Words and bits of a block of SPRAM (Lattice FPGA-TN-02022)."""
LOADER = 40
"""LUTs that fill a memory at start, as synthesized."""


@dataclass(frozen=True)
class Target:
    """What a plan may use, and the clock it counts with.

    Parameters
    ----------
    name : str
        Of the board or device.
    lut4, bram, dsp, ff : int
        Sites, blocks, multipliers and flip-flops there are.
    dsp_width : int
        Bits of the factors of a multiplier.
    bram_bits, bram_width : int
        Bits of a block, and of the widest word it reads in a cycle.
    clock_mhz : float
    spram : int
        Large memories of one port there are, which are empty at start.
    ff_in_lut : bool
        Whether a flip-flop without a LUT before it takes the site of a LUT.
    absorbs : bool
        Whether adders take in functions of two operands before them.
    lut_ram : bool
        Whether LUTs can be memories that are written.
    block_luts : float
        LUTs that a block of memory is worth: what takes fewer is no block, if LUTs can be memories.
    halves : bool
        Whether a multiplier makes two products of 8 bits, if both are in one cell.
    overhead : float
        LUTs that synthesis makes of one that is estimated.
    """

    name: str
    lut4: int
    bram: int
    dsp: int
    ff: int
    bram_bits: int
    bram_width: int
    clock_mhz: float
    spram: int = 0
    ff_in_lut: bool = False
    dsp_width: int = 18
    absorbs: bool = False
    lut_ram: bool = False
    block_luts: float = 0
    halves: bool = False
    overhead: float = 1

    def is_shallow(self, depth: int, width: int) -> bool:
        """Return whether a memory is to be made of LUTs."""
        return self.lut_ram and rom_lut(depth, width) < self.block_luts * self.blocks(depth, width)

    def blocks(self, depth: int, width: int) -> int:
        """Return the blocks of a memory: of the shapes a block can have, those that need fewest."""
        shapes, block = [], self.bram_width
        while block:
            rows = -(-depth // (self.bram_bits // self.bram_width * self.bram_width // block))
            shapes.append(-(-width // block) * rows)
            block //= 2
        return min(shapes)


@dataclass(frozen=True)
class Cost:
    """4-input LUTs (carry cells included), flip-flops, block memories (depth, width), multipliers.

    Of the flip-flops, `bare` ones have no LUT before them. The multipliers take factors of up to
    `port` bits, if that is known. Blocks of SPRAM are apart from other memories.
    """

    lut4: int = 0
    ff: int = 0
    memories: tuple[tuple[int, int], ...] = ()
    bare: int = 0
    dsp: int = 0
    port: int = 0
    spram: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut4 + other.lut4, self.ff + other.ff, self.memories + other.memories,
                    self.bare + other.bare, self.dsp + other.dsp, max(self.port, other.port),
                    self.spram + other.spram)

    def on(self, target: Target) -> Estimate:
        """Return what this takes of `target`."""
        luts = sum(rom_lut(*memory) for memory in self.shallow(target))
        blocks = sum(target.blocks(*m) for m in self.memories if not target.is_shallow(*m))
        luts += self.lut4 + (self.bare if target.ff_in_lut else 0)
        dsp = -(-self.dsp // 2) if target.halves and 0 < self.port <= 8 else self.dsp
        return Estimate(round(luts * target.overhead), self.ff, dsp, blocks, self.port, self.spram)

    def shallow(self, target: Target) -> Iterator[tuple[int, int]]:
        """Yield the memories that are made of LUTs on `target`."""
        return (memory for memory in self.memories if target.is_shallow(*memory))


class Estimate(NamedTuple):
    """What some hardware takes of a device: sites of LUTs, flip-flops, multipliers, blocks."""

    lut4: int
    ff: int
    dsp: int
    bram: int
    port: int
    """Bits of the factors that the multipliers take."""
    spram: int = 0

    @classmethod
    def sum_of(cls, parts: Iterable[Estimate]) -> Estimate:
        """Return the estimate of all `parts` together."""
        lut4, ff, dsp, bram, port, spram = zip(*parts, strict=True)
        return cls(sum(lut4), sum(ff), sum(dsp), sum(bram), max(port), sum(spram))


def sprams(depth: int, width: int) -> int:
    """Return the blocks of SPRAM of a memory."""
    words, bits = SPRAM
    return -(-depth // words) * -(-width // bits)


def rom_lut(depth: int, width: int) -> int:
    """Estimate the LUTs of a memory in logic: a LUT holds 16 bits, and as many again select."""
    return 0 if depth < 2 else width * max(1, round(depth / 12))
