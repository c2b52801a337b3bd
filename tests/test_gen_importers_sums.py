"""Factors of weighted sums."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bittern.gen.importers.sums import simplest, slopes, weighted_sum


def rounded(ratio, offset, shape, scale=0.37):
    """A sum of two operands in steps that divide nothing."""
    a, b = np.ogrid[:shape[0], :shape[1]]
    return np.rint((float(ratio) * a + b) * scale + offset).astype(np.int64)


def test_the_simplest_fraction_has_the_least_denominator():
    seed = 0
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for _ in range(300):
        low, high = sorted(Fraction(int(rng.integers(60)), int(rng.integers(1, 40)))
                           for _ in range(2))
        found = simplest(low, high)
        if low == high:
            assert found is None
            continue
        denominator = next(q for q in range(1, 2000)
                           if Fraction(low.numerator * q // low.denominator + 1, q) < high)
        assert low < found < high
        assert found.denominator == denominator
    assert simplest(Fraction(5, 2), None) == 3
    assert simplest(Fraction(0), Fraction(1, 7)) == Fraction(1, 8)


@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(2, 3), Fraction(7, 5), Fraction(1, 16)])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_factors_are_no_larger_than_those_of_the_sum(ratio, signs):
    y = rounded(ratio, -3.2, (64, 50))[::signs[0], ::signs[1]]
    found = weighted_sum(y, -20, 7)
    assert np.sign([found.factor0, found.factor1]).tolist() == list(signs)
    assert abs(found.factor0) <= ratio.numerator
    assert abs(found.factor1) <= ratio.denominator
    x0, x1 = np.ogrid[-20:44, 7:57]
    assert np.array_equal(found.thresholds(found.factor0 * x0 + found.factor1 * x1), y)


def test_smaller_factors_there_are_not():
    y = rounded(0.7321, 5.1, (24, 20))
    found = weighted_sum(y, 0, 0)
    for p in range(1, 40):
        for q in range(1, 40):
            sums = np.add.outer(p * np.arange(24), q * np.arange(20)).ravel()
            order = np.lexsort((y.ravel(), sums))
            ordered, values = sums[order], y.ravel()[order]
            rises = np.flatnonzero(np.diff(values))
            works = (np.diff(values) >= 0).all() and (ordered[rises] < ordered[rises + 1]).all()
            assert works == (slopes(y)[0] < Fraction(p, q) < slopes(y)[1])
            assert not works or (p >= found.factor0 and q >= found.factor1)


def test_what_is_no_weighted_sum_is_not_one():
    a, b = np.ogrid[:20, :20]
    assert weighted_sum(a * b // 20, 0, 0) is None
    assert weighted_sum((a - 9) ** 2 + b, 0, 0) is None
    y = rounded(1, 0, (20, 20))
    y[10:] += 1 # rounded before the sum
    y[:, 15:] += 3
    assert weighted_sum(y, 0, 0) is None


def test_constants_and_what_ignores_an_operand():
    for y in (np.full((5, 4), 7), np.arange(9)[:, np.newaxis] + np.zeros(6, np.int64)):
        found = weighted_sum(y, -2, 3)
        x0, x1 = np.ogrid[-2:y.shape[0] - 2, 3:y.shape[1] + 3]
        assert np.array_equal(found.thresholds(found.factor0 * x0 + found.factor1 * x1), y)
