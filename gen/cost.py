"""Cost: resources of hardware, estimated before it is synthesized."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cost", "Target", "rom_lut"]


@dataclass(frozen=True)
class Target:
    """What a plan may use, and the clock it counts with.

    Parameters
    ----------
    name : str
        Of the board or device.
    lut4, bram, dsp : int
        Sites, blocks and multipliers there are.
    dsp_width : int
        Bits of the factors of a multiplier.
    bram_bits, bram_width : int
        Bits of a block, and of the widest word it reads in a cycle.
    clock_mhz : float
    ff_in_lut : bool
        Whether a flip-flop without a LUT before it takes the site of a LUT.
    absorbs : bool
        Whether adders take in functions of two operands before them.
    """

    name: str
    lut4: int
    bram: int
    dsp: int
    bram_bits: int
    bram_width: int
    clock_mhz: float
    ff_in_lut: bool = False
    dsp_width: int = 18
    absorbs: bool = False

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

    Of the flip-flops, `bare` ones have no LUT before them. The multipliers take factors of `port`
    bits.
    """

    lut4: int = 0
    ff: int = 0
    memories: tuple[tuple[int, int], ...] = ()
    bare: int = 0
    dsp: int = 0
    port: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut4 + other.lut4, self.ff + other.ff, self.memories + other.memories,
                    self.bare + other.bare, self.dsp + other.dsp, max(self.port, other.port))

    def sites(self, target: Target) -> int:
        """Return the sites of LUTs on `target`."""
        return self.lut4 + (self.bare if target.ff_in_lut else 0)

    def blocks(self, target: Target) -> int:
        """Return the blocks of memory on `target`."""
        return sum(target.blocks(depth, width) for depth, width in self.memories)


def rom_lut(depth: int, width: int) -> int:
    """Estimate the LUTs of a table in logic: a LUT holds 16 bits, and as many again select."""
    return 0 if depth < 2 else width * max(1, round(depth / 12))
