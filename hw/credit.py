"""Credit: room for results that are on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Signal

if TYPE_CHECKING:
    from amaranth import Module, Value
    from amaranth.lib import stream

__all__ = ["credit", "store_of"]


def store_of(delay: int, steps: int = 1) -> int:
    """Return the results to keep where one comes every `steps` cycles, `delay` after its step.

    Room is given back three cycles after a result came, at the latest.
    """
    return max(-(-(delay + 3) // steps), 2)


def credit(m: Module, store: int, promised: Value, o: stream.Interface) -> Value:
    """Return whether a step may give a result: in `store`, which is before `o`, it will have room.

    `promised` tells that the step of this cycle gives one. Nothing stops what is on its way, so
    that no signal has to reach all of its registers.
    """
    free, may = Signal(range(store + 1), init=store), Signal(init=1)
    left = Signal.like(free)
    m.d.comb += left.eq(free - promised + (o.valid & o.ready))
    m.d.sync += [free.eq(left), may.eq(left != 0)]
    return may
