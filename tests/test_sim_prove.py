# amaranth: UnusedElaboratable=no
"""Proofs: right circuits are proven, wrong ones disproved, as a whole and in cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from amaranth import Cat, Module, Mux, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.rtlil import to_rtlil
from bittern.hw.operators import OPERATORS, ConstantProduct, Function, Product
from bittern.sim.logic import Logic
from bittern.sim.prove import Claim, Verdict, claims, prove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.pipeline import Stages

SECONDS = 60


@dataclass(frozen=True)
class AlmostProduct(Product):
    """A product that is wrong for one pair of factors."""

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        a, b = operands
        (product,) = super().gates(stages, a, b)
        return (product ^ Mux((a == 3) & (b == 5), 1, 0),)


class Sum(wiring.Component):
    """A sum, or one that forgets a carry."""

    def __init__(self, *, carry: bool) -> None:
        self.carry = carry
        super().__init__({"a": In(8), "b": In(8), "o": Out(9)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        low = self.a[:4] + self.b[:4]
        high = self.a[4:] + self.b[4:] + (low[4] if self.carry else 0)
        m.d.comb += self.o.eq(Cat(low[:4], high))
        return m


def logic(component: wiring.Component) -> Logic:
    return Logic.of_rtlil(to_rtlil(component))


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.__name__)
def test_the_smallest_example_is_proven(kind) -> None:
    examples = sorted(kind.examples(), key=lambda op: sum(s.width for s in op.inputs))
    for claim in claims(examples[0]):
        assert claim.prove(SECONDS) is Verdict.PROVEN, claim.name


def test_a_wrong_operator_is_disproved() -> None:
    (claim,) = claims(AlmostProduct(unsigned(4), unsigned(4)))
    assert claim.prove(SECONDS) is Verdict.DISPROVED


def test_in_cases_the_verdict_is_the_same() -> None:
    product = Product(signed(5), signed(5))
    assert prove(logic(Function(product)), logic(Function(product, naive=True)),
                 seconds=SECONDS, whole=0) is Verdict.PROVEN
    wrong = AlmostProduct(unsigned(5), unsigned(5))
    assert prove(logic(Function(wrong)), logic(Function(wrong, naive=True)),
                 seconds=SECONDS, whole=0) is Verdict.DISPROVED


def test_a_proof_that_takes_too_long_is_none() -> None:
    product = Product(signed(16), signed(16))
    assert prove(logic(Function(product)), logic(Function(product, naive=True)),
                 seconds=1) is Verdict.TIME_OUT
    assert claims(product) == []


def test_lemmas_take_the_place_of_what_is_too_wide() -> None:
    @dataclass(frozen=True)
    class Wide(ConstantProduct):
        def lemmas(self):
            return [("right", Sum(carry=True), Sum(carry=True)),
                    ("wrong", Sum(carry=True), Sum(carry=False))]

    right, wrong = claims(Wide(signed(16), 3))
    assert right.name.endswith(": right")
    assert right.prove(SECONDS) is Verdict.PROVEN
    assert wrong.prove(SECONDS) is Verdict.DISPROVED


def test_claims_are_proven_of_fresh_components() -> None:
    claim = Claim("sum", lambda: Sum(carry=True), lambda: Sum(carry=True))
    assert [claim.prove(SECONDS) for _ in range(2)] == [Verdict.PROVEN] * 2
