# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.boards.board import Family
from bittern.boards.synthesis import synthesize
from bittern.boards.usage import synthesized
from bittern.gen.rtlil import to_rtlil
from bittern.hw.adder_tree import Tree
from bittern.hw.operators import Function, ScaledTernary, TernaryDot

SEED = 3


def planes(weights):
    places = 1 << np.arange(len(weights))
    return np.array([(weights > 0) @ places]), np.array([(weights < 0) @ places])


def test_a_ternary_dot_product_is_one():
    rng = np.random.default_rng(SEED)
    x, w = rng.integers(-128, 128, 62), rng.integers(-1, 2, 62)
    y, = TernaryDot(62, signed(8))(*(np.array([v]) for v in x), *planes(w))
    assert y == [x @ w]


def test_groups_have_scales_of_their_own():
    rng = np.random.default_rng(SEED)
    x, w = rng.integers(0, 16, 12), rng.integers(-1, 2, 12)
    scales = ((5, 9), (7, 7), (0, 3))
    real = [v * scales[k // 4][int(v < 0)] for k, v in enumerate(w)]
    y, = ScaledTernary(4, unsigned(4), scales)(*(np.array([v]) for v in x), *planes(w))
    assert y == [x @ real]


@pytest.mark.parametrize(("operator", "most"), [
    (TernaryDot(32, unsigned(1)), {"ICE40": 124, "ECP5": 116, "GOWIN": 133}),
    (TernaryDot(16, signed(8)), {"ICE40": 283, "ECP5": 234, "GOWIN": 294}),
    (ScaledTernary(16, unsigned(1), ((91, 113),)), {"ICE40": 112, "ECP5": 112, "GOWIN": 114})],
    ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.name)
def test_ternary_dot_products_take_few_luts(operator, most, family):
    cells = synthesize(to_rtlil(Function(operator)), family)
    # a few more or less as Yosys goes
    assert synthesized(family, cells).lut4 <= 1.05 * most[family.name]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: TernaryDot(0, unsigned(8)), "lanes must be 1 to 62 lanes, not 0"),
    (lambda: TernaryDot(63, unsigned(8)), "lanes must be 1 to 62 lanes, not 63"),
    (lambda: TernaryDot(4, unsigned(0)), "x must have 1 to 16 bits, not 0"),
    (lambda: TernaryDot(4, unsigned(8), Tree(chain=2)), "chain must be 4 or more bits, not 2"),
    (lambda: ScaledTernary(32, unsigned(8), ((1, 1), (2, 2))), "total must be 1 to 62 lanes"),
    (lambda: ScaledTernary(4, unsigned(9), ((1, 1),)), "x must have 1 to 8 bits, not 9"),
    (lambda: ScaledTernary(4, unsigned(8), ((1, -1),)), "scales must be pairs of 0..65535, not")])
def test_parameters_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
