"""What units have in common whose lanes each run through what is stored of a row, one a cycle."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.ir import Fold
from bittern.gen.timing import Buffer, Steps
from bittern.gen.units.unit import Unit
from bittern.hw.sparse.engine import SMALL, Schedule
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.ints import Ints
    from bittern.hw.sparse import SparseCode

__all__ = ["LaneUnit"]

DECODER = 40
"""LUTs that find the next input."""
WIDTHS = 3
"""Numbers of inputs of a transfer that are offered for each number of lanes."""


class LaneUnit(Unit):
    """Unit on :class:`~bittern.hw.sparse.engine.SparseEngine`: `pe` is its number of lanes."""

    weights: Ints

    @abstractmethod
    def code(self, lanes: int) -> SparseCode | None:
        """Return how rows are stored for so many lanes; None where they cannot be."""

    @abstractmethod
    def lengths(self, code: SparseCode, decoders: int) -> Ints:
        """Return the steps of each row, ``(groups, decoders)``."""

    @abstractmethod
    def heads(self, code: SparseCode) -> int:
        """Return the heads of all rows."""

    @abstractmethod
    def delay(self, x: Shape) -> int:
        """Return the cycles from a step to its result."""

    @abstractmethod
    def lane_cost(self, x: Shape, acc_width: int) -> Cost:
        """Estimate what multiplies and adds in a lane."""

    def found(self, lanes: int) -> SparseCode:
        """Return how rows are stored where they can be."""
        code = self.code(lanes)
        assert code is not None
        return code

    @property
    def lanes(self) -> list[int]:
        """Of the numbers of lanes that take the same number of groups, the fewest."""
        outputs = len(self.weights)
        return sorted({transfers(outputs, transfers(outputs, k)) for k in range(1, outputs + 1)})

    def folds(self, x: Shape) -> list[Fold]:
        inputs, found = self.weights.shape[1], []
        for lanes in self.lanes:
            code = self.code(lanes)
            if code is None or lanes % code.height:
                continue
            steps, simd = _schedule(self, lanes).steps, 1
            while transfers(inputs, simd) > steps:
                simd *= 2
            for _ in range(WIDTHS):
                if simd <= inputs:
                    found.append(Fold(lanes, simd, self.name))
                simd *= 2
        return found

    def multipliers(self, fold: Fold) -> int:
        return fold.pe

    def cycles(self, fold: Fold) -> int:
        return _schedule(self, fold.pe).steps

    def timing(self, fold: Fold, x: Shape) -> Steps:
        schedule, delay = _schedule(self, fold.pe), self.delay(x)
        return Steps((False,) * schedule.steps, schedule.gives, delay,
                     store=schedule.store(delay), buffer=Buffer.replay(
                         schedule.steps, transfers(self.weights.shape[1], fold.simd), whole=True))

    def cost(self, fold: Fold, x: Shape, acc_width: int) -> Cost:
        lanes, code, schedule = fold.pe, self.found(fold.pe), _schedule(self, fold.pe)
        decoders, groups = lanes // code.height, len(schedule.lengths)
        lane, kept = self.lane_cost(x, acc_width), schedule.store(self.delay(x))
        held = sum(schedule.depths) * code.height * acc_width
        select = x.width * (fold.simd - 1) * 2 // 3
        lut = (lanes * (lane.lut4 + acc_width) + held + decoders * (DECODER + select)
               + rom_lut(groups, lanes * acc_width) + 60)
        ff = (lanes * lane.ff + held
              + decoders * (2 * (code.index_width + code.value) + x.width) + 80)
        in_folds = transfers(self.weights.shape[1], fold.simd)
        buffer = 2 << (in_folds - 1).bit_length(), fold.simd * x.width
        memories = [buffer] * decoders + [(kept, lanes * acc_width)] * (kept > 2)
        words = schedule.steps, decoders * code.width + 1
        heads = -(-self.heads(code) // decoders), code.head_width
        for count, (depth, width) in ((1, words), (decoders, heads)):
            if depth * width >= SMALL:
                memories += [(depth, width)] * count
            else:
                lut += count * rom_lut(depth, width)
        return Cost(lut, ff, tuple(memories), words[1] + x.width * decoders, lanes * lane.dsp,
                    max(lane.port, x.width) if lane.dsp else lane.port)


@lru_cache(maxsize=4096)
def _schedule(unit: LaneUnit, lanes: int) -> Schedule:
    code = unit.found(lanes)
    return Schedule.of(unit.lengths(code, lanes // code.height))


def by_decoder(rows: Ints, decoders: int, fill: int) -> Ints:
    """Return what `rows` hold as ``(groups, decoders, …)``, with rows of `fill` at the end."""
    groups = transfers(len(rows), decoders)
    padded = np.full((groups * decoders, *rows.shape[1:]), fill, dtype=rows.dtype)
    padded[:len(rows)] = rows
    return padded.reshape(groups, decoders, *rows.shape[1:])
