# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.boards.board import Family
from bittern.boards.synthesis import synthesize
from bittern.boards.usage import synthesized
from bittern.gen.rtlil import to_rtlil
from bittern.hw.formats.powers import Power, Powers
from bittern.hw.logarithm import mantissa, threshold
from bittern.hw.operators import Function, LogProduct, LogQuantize, PowerSum, ShiftProduct


def signed_powers(exponents, *, zero=True):
    return [0] * zero + [s << k for k in exponents for s in (1, -1)]


@pytest.mark.parametrize(("weights", "width", "luts"), [
    (signed_powers(range(2)), 3, 17), (signed_powers(range(4)), 4, 20),
    (signed_powers(range(7)), 4, 35), (signed_powers(range(8)), 5, 35),
    (signed_powers(range(3, 7), zero=False), 3, 20), ([1, 2, 4, 8], 2, 20), ([-16, -1, 8], 3, 21),
    ([0, 1, 8, 128, -1], 3, 27), ([1, 2, 4, 16], 2, 34),
    ([-3, -1, 1, 3], 2, 16), ([-7, -5, -3, -1, 1, 3, 5, 7], 3, 24),
    (sorted({16 * a + b for a in signed_powers(range(3)) for b in signed_powers(range(3))}),
     6, 40)])
def test_codes_of_powers_are_as_narrow_as_their_number_allows(weights, width, luts):
    found = Powers.find(np.array(weights))
    assert (found.width, found.lut4(8)) == (width, luts)
    assert found.decode(found.encode(np.array(weights))).tolist() == weights


@pytest.mark.parametrize("weights", [[0], [4], [-2, 0, 2], [0, 8], [*range(-8, 8)],
                                     [*range(-128, 128)], [1, 85], [1, 1 << 17]], ids=str)
def test_where_other_formats_are_as_good_there_are_no_powers(weights):
    assert Powers.find(np.array(weights)) is None


def test_a_weight_that_is_no_power_is_named():
    with pytest.raises(ValueError, match="'powers' cannot hold the weight 3"):
        Powers.find(np.array([1, 2, 4])).encode(np.array([1, 3]))


@pytest.mark.parametrize("fraction", [0, 1, 2])
def test_thresholds_are_the_least_integers_of_their_logarithm(fraction):
    for c in range(1, 60):
        t = threshold(c, fraction)
        power, root = 1 << 2 * c - 1, 1 << fraction + 1
        assert (t - 1) ** root < power <= t ** root


@pytest.mark.parametrize("fraction", [0, 1, 2])
def test_mantissas_are_rounded_powers(fraction):
    for places in range(13):
        for j in range(1 << fraction):
            assert mantissa(j, fraction, places) == round(2 ** (places + j / 2 ** fraction))


@pytest.mark.parametrize("fraction", [0, 1, 2])
def test_codes_are_rounded_logarithms(fraction):
    x = np.arange(1, 1 << 12)
    code, = LogQuantize(12, fraction)(x)
    assert np.array_equal(code, 1 + np.rint(np.log2(x) * 2 ** fraction))
    zero, = LogQuantize(12, fraction)(np.array([0]))
    assert zero == [0]


def test_products_of_codes_are_near_those_of_their_numbers():
    a, b = np.meshgrid(np.arange(16), np.arange(32))
    y, = LogProduct(4, 4, 1, 6, minus=True)(a, b)
    n = a + (b & 15) - 2
    exact = np.where((a == 0) | (b & 15 == 0), 0, 2 ** (n / 2)) * np.where(b > 15, -1, 1)
    assert (np.abs(y / 64 - exact) <= np.abs(exact) * 2 ** -7).all()


@pytest.mark.parametrize("family", Family, ids=lambda family: family.name)
def test_shifts_and_logarithms_take_few_luts(family):
    for operator, most in ((ShiftProduct(unsigned(8), Power(0, (1, 2)), split=True), 21),
                           (ShiftProduct(unsigned(8), Power(0, (1, 2, 4)), split=True), 34),
                           (LogQuantize(8), 24)):
        cells = synthesize(to_rtlil(Function(operator)), family)
        assert synthesized(family, cells).lut4 <= most


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Power(-1, (1,)), "low and steps must be at least 0, not -1 and (1,)"),
    (lambda: Power(0, (1,), 2), "zero must be in 0..1, not 2"),
    (lambda: Power(0, (1,), table=(0, 1, 2)), "table must have 2**n entries in 0..1, not"),
    (lambda: Powers(()), "planes must be 1 to 3, not 0"),
    (lambda: ShiftProduct(unsigned(17), Power(0, (1,))), "x must have 1 to 16 bits, not 17"),
    (lambda: ShiftProduct(signed(8), Power(9, (8,))), "weight must have at least one bit and"),
    (lambda: PowerSum(signed(8), Powers((Power(9, (8,)),))), "weights must have at least one"),
    (lambda: LogQuantize(0), "width must be 1 to 32 bits, not 0"),
    (lambda: LogQuantize(8, 3), "fraction must be 0 to 2, not 3"),
    (lambda: LogProduct(7, 4), "a must be 1 to 6, not 7"),
    (lambda: LogProduct(4, 4, 0, 13), "places must be 0 to 12, not 13"),
    (lambda: LogProduct(6, 6), "results must have at most 62 bits, not 125")])
def test_parameters_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
