"""What layers have in common that read a map through windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.cost import Cost, rom_lut, sprams
from bittern.gen.timing import Buffer, Steps
from bittern.hw.patches import Axis, Patches
from bittern.hw.window import BLOCK, rows_of, words_of

if TYPE_CHECKING:
    from bittern.gen.ir import Tensor

__all__ = ["PATCHES", "Reading"]

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


@dataclass(frozen=True)
class Reading:
    """What a :class:`~bittern.hw.window.WindowReader` takes.

    Parameters
    ----------
    patches : Patches
    x : Tensor
        The map.
    lanes : int
        Channels of a transfer.
    one_port : bool
        As of the reader.
    """

    patches: Patches
    x: Tensor
    lanes: int
    one_port: bool = False

    @property
    def groups(self) -> int:
        """Transfers of an element of the map."""
        return self.x.channels // self.lanes

    @property
    def pace(self) -> int:
        """Cycles of a step, and from a transfer to the next."""
        return 1 + self.one_port

    @property
    def memory(self) -> tuple[int, int]:
        """Words and bits of the rows."""
        return words_of(self.patches, self.groups), self.lanes * self.x.element.width

    @property
    def cycles(self) -> int:
        """Cycles of a frame: those of its steps, or of the transfers that come."""
        (rows, columns), taps = self.patches.shape, self.patches.taps
        come = self.patches.rows.size * self.patches.columns.size
        return self.pace * self.groups * max(rows * columns * taps, come)

    def steps(self, taps: int, latency: int, store: int) -> Steps:
        """Return the timing where there is a result for every `taps` of what is read."""
        return _steps(self, taps, latency, store)

    @property
    def cost(self) -> Cost:
        """Estimated resources."""
        depth, bits = self.memory
        cost = Cost(COUNTERS + (bits if self.patches.is_filled else 0), REGISTERS)
        if self.one_port:
            return cost + Cost(depth.bit_length() + 10, bits + 3, spram=sprams(depth, bits))
        return cost + (Cost(memories=((depth, bits),)) if depth * bits >= BLOCK else
                       Cost(rom_lut(depth, bits)))


@lru_cache(maxsize=256)
def _steps(reading: Reading, taps: int, latency: int, store: int) -> Steps:
    patches, pace = reading.patches, reading.pace
    rows, transfers = rows_of(patches.rows), patches.columns.size * reading.groups
    count = pace * patches.shape[1] * patches.taps * reading.groups # cycles of a row of windows
    gives = np.zeros(patches.shape[0] * count, bool)
    gives[pace * (taps - 1)::pace * taps] = True
    needs = np.repeat(rows.needs * transfers, count)
    frees = np.repeat(np.append(0, rows.frees[:-1]) * transfers, count)
    for last in range(1, pace + 1): # the last step, and the cycles it takes
        frees[count - last::count] = rows.frees * transfers
    return Steps((False,) * len(gives), tuple(gives.tolist()), latency, store,
                 Buffer(tuple(needs.tolist()), tuple(frees.tolist()), rows.kept * transfers, pace))
