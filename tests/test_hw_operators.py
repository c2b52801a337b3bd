# amaranth: UnusedElaboratable=no
"""Conformance of every operator in the index: nothing here names one."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring

import bittern.hw.operators
from bittern.boards.board import Family
from bittern.boards.synthesis import netlist
from bittern.gen.rtlil import to_rtlil
from bittern.hw.operators import OPERATORS, Function, Operate, Operator
from bittern.sim.bench import run_stream
from bittern.sim.logic import Logic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amaranth import Shape

    from bittern.hw.ints import Ints

SEED = 1
CASES = 1 << 16
MAPPED_BITS = 16

each_operator = pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.__name__)
each_family = pytest.mark.parametrize("family", Family, ids=lambda family: family.name)


class Functions(wiring.Component):
    """Several functions side by side; ports carry the name of theirs: one call of Yosys for all."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        super().__init__({f"{name}_{port}": member for name, function in functions.items()
                          for port, member in function.signature.members.items()})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        for name, function in self.functions.items():
            m.submodules[name] = function
            for port, member in function.signature.members.items():
                inside, outside = getattr(function, port), getattr(self, f"{name}_{port}")
                m.d.comb += (inside.eq(outside) if member.flow is wiring.In
                             else outside.eq(inside))
        return m


def bits(operator: Operator) -> int:
    return sum(shape.width for shape in operator.inputs)


def limits(shape: Shape) -> tuple[int, int]:
    """Return the least and the greatest integer of `shape`."""
    if shape.signed:
        return -(1 << shape.width - 1), (1 << shape.width - 1) - 1
    return 0, (1 << shape.width) - 1


def integers(shape: Shape, code: Ints) -> Ints:
    """Return the integers that the low bits of `code` are in `shape`."""
    low = code & (1 << shape.width) - 1
    return low - (low >> shape.width - 1 << shape.width) if shape.signed else low


def operands(operator: Operator) -> tuple[Ints, ...]:
    """Return all operands where they have up to 20 bits together, else corners and random ones."""
    shapes = operator.inputs
    if bits(operator) <= 20:
        code = np.arange(1 << bits(operator))
        firsts = itertools.accumulate((shape.width for shape in shapes), initial=0)
        return tuple(integers(shape, code >> first)
                     for shape, first in zip(shapes, firsts, strict=False))
    rng = np.random.default_rng(SEED)
    some = [rng.integers(*limits(shape), CASES, endpoint=True) for shape in shapes]
    ends = [limits(shape) for shape in shapes]
    corners = [[0] * len(shapes)]
    corners += itertools.product(*ends) if len(shapes) <= 8 else zip(*ends, strict=True)
    for k, shape in enumerate(shapes):
        for bit in range(shape.width):
            one_hot = [0] * len(shapes)
            one_hot[k] = int(integers(shape, np.array(1 << bit)))
            corners.append(one_hot)
    return tuple(np.concatenate([column, random])
                 for column, random in zip(np.array(corners).T, some, strict=True))


@cache
def expected(operator: Operator) -> tuple[tuple[Ints, ...], tuple[Ints, ...]]:
    """Return operands and what the specification makes of them."""
    cases = operands(operator)
    return cases, operator(*cases)


def compare(operator: Operator, logic: Logic, name: str) -> None:
    """Compare part `name` of `logic` with the specification of `operator`."""
    cases, results = expected(operator)
    found = logic.part(f"{name}_")(
        {f"i{k}": case for k, case in enumerate(cases)},
        signed={f"o{k}": shape.signed for k, shape in enumerate(operator.outputs)})
    assert len(results) == len(operator.outputs)
    for k, result in enumerate(results):
        wrong = np.flatnonzero(found[f"o{k}"] != result)
        assert not len(wrong), (
            f"{operator}, {name}: o{k} is {found[f'o{k}'][wrong[0]]}, not {result[wrong[0]]}, for "
            f"{[int(case[wrong[0]]) for case in cases]}; {len(wrong)} of {len(result)} differ")


@each_operator
def test_gates_and_naive_form_equal_the_specification(kind: type[Operator]) -> None:
    examples = kind.examples()
    assert examples
    forms = {f"{form}{k}": Function(operator, naive=form == "naive")
             for k, operator in enumerate(examples) for form in ("gates", "naive")}
    logic = Logic.of_rtlil(to_rtlil(Functions(forms)))
    for name, function in forms.items():
        compare(function.operator, logic, name)


@each_operator
def test_results_are_integers_of_the_promised_shapes(kind: type[Operator]) -> None:
    for operator in kind.examples():
        _, results = expected(operator)
        for result, shape in zip(results, operator.outputs, strict=True):
            low, high = limits(shape)
            assert np.issubdtype(result.dtype, np.integer), operator
            assert result.min() >= low, operator
            assert result.max() <= high, operator


@each_family
def test_mapped_netlists_equal_the_specification(family: Family) -> None:
    chosen = {f"n{k}": max((example for example in kind.examples()), key=lambda example:
                           (bits(example) <= MAPPED_BITS, bits(example)
                            if bits(example) <= MAPPED_BITS else -bits(example)))
              for k, kind in enumerate(OPERATORS)}
    rtlil = to_rtlil(Functions({name: Function(operator) for name, operator in chosen.items()}))
    logic = Logic.of_netlist(netlist(rtlil, family), family.name.lower())
    for name, operator in chosen.items():
        compare(operator, logic, name)


def struct(prefix: str, values: Sequence[Ints], transfer: int) -> dict[str, int]:
    return {f"{prefix}{k}": int(value[transfer]) for k, value in enumerate(values)}


@each_operator
def test_streams_give_every_result_at_the_stated_latency(kind: type[Operator]) -> None:
    operator = max(sorted(kind.examples(), key=bits), key=lambda example: example.latency > 0)
    component = Operate(operator)
    cases, _ = expected(operator)
    chosen = np.random.default_rng(SEED).integers(0, len(cases[0]), 40)
    cases = tuple(case[chosen] for case in cases)
    results = operator(*cases)
    layout = component.o.payload.shape()
    words = [layout.const(struct("o", results, k)).as_value().value for k in range(len(chosen))]
    transfers = [struct("i", cases, k) for k in range(len(chosen))]
    for stall in (0, 0.3):
        run = run_stream(component, transfers, outputs=len(chosen), seed=SEED, stall=stall)
        assert run.outputs == words
        if not stall:
            first = operator.latency
            assert run.stamps == list(range(first, first + len(chosen)))


@each_operator
def test_operators_estimate_themselves_and_say_why_they_cannot_be_smaller(
        kind: type[Operator]) -> None:
    for operator in [*kind.examples(), *kind.points()]:
        for family in Family:
            least, why = operator.bound(family)
            assert operator.lut4(family) >= 0
            assert least >= 0
            assert why


@each_operator
def test_operators_are_values_and_say_what_they_are(kind: type[Operator]) -> None:
    first, *_ = (kind.__doc__ or "").splitlines()
    assert first.endswith(".")
    assert (inspect.getmodule(kind).__doc__ or "").strip()
    for one, again in zip(kind.examples(), kind.examples(), strict=True):
        assert one == again
        assert hash(one) == hash(again)


def test_every_module_of_operators_is_in_the_index() -> None:
    for module in pkgutil.iter_modules(bittern.hw.operators.__path__):
        if module.name == "operator":
            continue
        name = f"bittern.hw.operators.{module.name}"
        found = [value for value in vars(importlib.import_module(name)).values()
                 if inspect.isclass(value) and issubclass(value, Operator)
                 and value.__module__ == name and not inspect.isabstract(value)]
        assert found, f"{name} defines no operator"
        assert not [kind for kind in found if kind not in OPERATORS], name


def test_the_bench_sees_a_wrong_gate() -> None:
    operator = OPERATORS[0].examples()[0]
    logic = Logic.of_rtlil(to_rtlil(Functions({"gates0": Function(operator)})))
    broken = Logic(logic.gates, logic.inputs, {
        name: [literals[0] ^ 1, *literals[1:]] for name, literals in logic.outputs.items()})
    with pytest.raises(AssertionError, match="differ"):
        compare(operator, broken, "gates0")
