"""What layers have in common that read a map through windows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.timing import Buffer, Steps
from bittern.hw.patches import Axis, Patches
from bittern.hw.window import BLOCK, rows_of, words_of

if TYPE_CHECKING:
    from bittern.gen.ir import Tensor

__all__ = ["PATCHES", "reading_cost", "reading_cycles", "reading_steps"]

COUNTERS, REGISTERS = 310, 160
"""LUTs and flip-flops of the counters and comparisons of a reader, as synthesized for KWS."""

PATCHES = (
    (Patches(Axis(5, 3, before=1, after=1), Axis(4, 3, before=1, after=1), -3), 4, -8, 7),
    (Patches(Axis(6, 2, 2), Axis(5, 2, 2)), 3, 0, 3),
    (Patches(Axis(7, 3, 2, 0, 1, 2), Axis(6, 2, 3, 1, 0, 3), 5), 2, 0, 7),
    (Patches(Axis(1), Axis(9, 4, 1, 2, 1)), 1, -1, 1),
    (Patches(Axis(4, 1, 2), Axis(4, 1, 2)), 2, 0, 15),
    (Patches(Axis(3, zoom=2), Axis(2, zoom=3)), 2, -4, 3),
    (Patches(Axis(3, 3, before=2, after=2, zoom=2, gaps=True),
             Axis(2, 2, before=1, after=1, zoom=3, gaps=True)), 2, 0, 3),
    (Patches(Axis(5, before=-1, after=-2), Axis(4, before=-1, after=2), 9), 2, 0, 7),
    (Patches(Axis(2, 2), Axis(2, 2)), 2, -2, 1),
    (Patches(Axis(3, before=2, after=1), Axis(2), 1), 2, 0, 3), # rows of filling alone
    # the last of a row that is read is its first element
    (Patches(Axis(8, zoom=2), Axis(1, zoom=2)), 2, -8, 7),
    (Patches(Axis(8), Axis(3, stride=3)), 1, 0, 15),
)
"""Windows on small maps: with the channels, and the range of the elements."""


def reading_cycles(patches: Patches, groups: int) -> int:
    """Return the cycles of a frame: those of its steps, or of the transfers that come."""
    (rows, columns), taps = patches.shape, patches.taps
    return groups * max(rows * columns * taps, patches.rows.size * patches.columns.size)


@lru_cache(maxsize=256)
def reading_steps(patches: Patches, groups: int, taps: int, latency: int, store: int) -> Steps:
    """Return the timing of a reader that gives a result for every `taps` of what it reads."""
    rows, transfers = rows_of(patches.rows), patches.columns.size * groups
    steps = patches.shape[1] * patches.taps * groups # of a row of windows
    gives = ((False,) * (taps - 1) + (True,)) * (patches.shape[0] * steps // taps)
    needs = np.repeat(rows.needs * transfers, steps)
    frees = np.repeat(np.append(0, rows.frees[:-1]) * transfers, steps)
    frees[steps - 1::steps] = rows.frees * transfers
    return Steps((False,) * len(gives), gives, latency, store,
                 Buffer(tuple(needs.tolist()), tuple(frees.tolist()), rows.kept * transfers))


def reading_cost(patches: Patches, x: Tensor, lanes: int) -> Cost:
    """Estimate a reader of so many channels at a time."""
    bits = x.element.width * lanes
    depth = words_of(patches, x.channels // lanes)
    filled = bits if patches.is_filled else 0
    memory = ((depth, bits),) if depth * bits >= BLOCK else ()
    return Cost(COUNTERS + filled + (0 if memory else rom_lut(depth, bits)), REGISTERS, memory)
