# amaranth: UnusedElaboratable=no
"""What an operator is: a function of integers, as NumPy has it and as gates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from amaranth import Module, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.pipeline import Pipeline, Stages, Wires, draft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints

__all__ = ["Function", "Operate", "Operator"]


class Operator(ABC):
    """An exact function of integers that takes new operands in every cycle.

    Implementations are frozen dataclasses, listed in ``hw.operators.OPERATORS``. The semantics
    (`__call__`) and the gates (`gates`) are written independently. Parameters out of range raise
    :exc:`ValueError` naming parameter, value and range.
    """

    @property
    @abstractmethod
    def inputs(self) -> tuple[Shape, ...]:
        """Shapes of the operands, all of whose integers are allowed."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Shape, ...]:
        """Shapes of the results."""

    @abstractmethod
    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        """Compute the results for arrays of operands, all of one shape."""

    @abstractmethod
    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        """Return the results, through register levels of `stages`."""

    @abstractmethod
    def naive(self, *operands: Value) -> Sequence[Value]:
        """Return the results as one would write them: what Yosys is to be better than."""

    @property
    def latency(self) -> int:
        """Register levels of `gates`."""
        signals = [Signal(shape, name=f"i{k}") for k, shape in enumerate(self.inputs)]
        return draft(lambda stages: self.gates(stages, *signals)).latency

    @abstractmethod
    def lut4(self, family: Family) -> float:
        """Estimate the 4-input LUT sites of `gates` on `family`, carry cells included."""

    @abstractmethod
    def bound(self, family: Family) -> tuple[float, str]:
        """Return a lower bound on the 4-input LUT sites of any circuit, and why it is one."""

    @classmethod
    @abstractmethod
    def examples(cls) -> list[Self]:
        """Return operators to be tested: over all operands where these have up to 20 bits."""

    @classmethod
    def points(cls) -> list[Self]:
        """Return the operators to be measured, by default the examples."""
        return cls.examples()


class Function(wiring.Component):
    """The results of an operator as combinational logic: ``o0, o1, … = f(i0, i1, …)``.

    Registers are left out, so that it can be evaluated and proven.

    Parameters
    ----------
    operator : Operator
    naive : bool
        Whether to take its naive form.
    """

    def __init__(self, operator: Operator, *, naive: bool = False) -> None:
        self.operator, self.naive = operator, naive
        super().__init__({**{f"i{k}": In(s) for k, s in enumerate(operator.inputs)},
                          **{f"o{k}": Out(s) for k, s in enumerate(operator.outputs)}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = [getattr(self, f"i{k}") for k in range(len(self.operator.inputs))]
        results = (self.operator.naive(*operands) if self.naive
                   else self.operator.gates(Wires(m), *operands))
        m.d.comb += [getattr(self, f"o{k}").eq(y) for k, y in enumerate(results)]
        return m


class Operate(wiring.Component):
    """Operator on streams: ``o = operator(i)``, a transfer a cycle, latency ``operator.latency``.

    ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    operator : Operator

    Members
    -------
    i : stream of a struct ``i0, i1, …``
    o : stream of a struct ``o0, o1, …``
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        super().__init__({
            "i": In(stream.Signature(_struct("i", operator.inputs))),
            "o": Out(stream.Signature(_struct("o", operator.outputs)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        results = self.operator.gates(
            pipeline, *(self.i.payload[f"i{k}"] for k in range(len(self.operator.inputs))))
        pipeline.finish(())
        m.d.comb += [self.o.payload[f"o{k}"].eq(y) for k, y in enumerate(results)]
        return m


def _struct(prefix: str, shapes: Sequence[Shape]) -> data.StructLayout:
    return data.StructLayout({f"{prefix}{k}": shape for k, shape in enumerate(shapes)})
