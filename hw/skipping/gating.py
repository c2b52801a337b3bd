"""Gating: registers that hold still where a product is zero anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Module, Mux, Signal

from bittern.hw.operators.operator import Operate
from bittern.hw.operators.product import bounds_of
from bittern.hw.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value
    from amaranth.lib import stream

    from bittern.hw.operators.operator import Operator

__all__ = ["Gated"]


class Gated(Operate):
    """Operator on streams whose registers hold still while a factor is zero: for less power.

    The operands go into registers first. A transfer with a factor of zero does not enter these, nor
    any register of the operator behind: what is in them stays, and so does all logic between them.
    Its results are zero. A transfer a cycle, latency ``1 + operator.latency``. ``ready`` passes
    combinationally from ``o`` to ``i``.

    Source: Y.-H. Chen et al., "Eyeriss: an energy-efficient reconfigurable accelerator for deep
    convolutional neural networks" (ISSCC 2016), which gates a multiplier by its activation.

    Parameters
    ----------
    operator : Operator
        Of registers that are all those of its stages.
    zeros : Sequence[int]
        The operands each of which makes all results zero where it is.

    Members
    -------
    i : stream of a struct ``i0, i1, …``
    o : stream of a struct ``o0, o1, …``
    """

    def __init__(self, operator: Operator, *, zeros: Sequence[int] = (0,)) -> None:
        count = len(operator.inputs)
        if not zeros or not all(0 <= k < count for k in zeros):
            raise ValueError(f"zeros must be numbers in 0..{count - 1}, not {tuple(zeros)}")
        for k in zeros:
            _check(operator, k)
        self.zeros = tuple(zeros)
        super().__init__(operator)

    @property
    def latency(self) -> int:
        """Cycles from a transfer of ``i`` to that of ``o``."""
        return 1 + self.operator.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = [self.i.payload[f"i{k}"] for k in range(len(self.operator.inputs))]
        zero = Cat(~operands[k].any() for k in self.zeros).any()
        gating = _Gating(m, self.i, self.o, zero)
        results = self.operator.gates(gating, *gating.stage(operands, "operand"))
        gating.finish(())
        m.d.comb += [self.o.payload[f"o{k}"].eq(Mux(gating.zero, 0, y))
                     for k, y in enumerate(results)]
        return m


class _Gating(Pipeline):
    """A pipeline that moves only what is valid and not marked as zero."""

    def __init__(self, m: Module, i: stream.Interface, o: stream.Interface, zero: Value) -> None:
        super().__init__(m, i, o)
        self.zero = zero
        self.enable = self._step & self.valid & ~zero

    def stage(self, values: Sequence[Value], name: str) -> list[Value]:
        zero = Signal(name=f"{name}_zero", reset_less=True)
        with self.m.If(self._step):
            self.m.d.sync += zero.eq(self.zero)
        registers = super().stage(values, name)
        self.zero = zero
        self.enable = self._step & self.valid & ~zero
        return registers


def _check(operator: Operator, zero: int) -> None:
    """Raise :exc:`ValueError` unless the results seem to be zero where operand `zero` is."""
    rng = np.random.default_rng(0)
    operands = []
    for k, shape in enumerate(operator.inputs):
        lo, hi = bounds_of(shape)
        values = rng.integers(lo, hi + 1, 1000)
        values[:2] = lo, hi
        operands.append(np.zeros_like(values) if k == zero else values)
    if any(y.any() for y in operator(*operands)):
        raise ValueError(f"zeros must be operands that make all results of {operator} zero, "
                         f"not operand {zero}")
