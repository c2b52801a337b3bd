from fractions import Fraction

import numpy as np
import pytest

from bittern.gen.lines import Corners, Domain
from bittern.hw.thresholds import Thresholds


def slopes_by_trying(corners, row, denominator):
    """Return which fractions of a denominator are slopes of lines, one corner after the other."""
    found = set()
    for p in range(-2, denominator * (len(corners.y) + 1)):
        slope = Fraction(p, denominator)
        low = [y - slope * int(x) for x, y, known in
               zip(corners.first[row], corners.y.tolist(), corners.reached[row], strict=True)
               if known]
        high = [y - slope * int(x) for x, y, known in
                zip(corners.last[row], corners.y.tolist(), corners.missed[row], strict=True)
                if known]
        if not low or not high or max(low) < min(high):
            found.add(p)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_slopes_are_those_that_trying_finds(seed):
    rng = np.random.default_rng(seed)
    spec = Thresholds(np.sort(rng.integers(-3, 25, (30, 1 + seed % 4)), axis=1), 2)
    some = np.unique(rng.integers(0, 23, 12)) if seed % 2 else None
    domain = Domain(0, 22) if some is None else Domain(int(some[0]), int(some[-1]), some)
    corners = Corners.of(spec, domain)
    slopes = corners.slopes()
    for row in range(len(corners.first)):
        for denominator in (1, 4, 6):
            within = {p for p in range(-2, denominator * (len(corners.y) + 1))
                      if slopes.p0[row] * denominator < p * slopes.q0[row]
                      and p * slopes.q1[row] < slopes.p1[row] * denominator}
            tried = slopes_by_trying(corners, row, denominator)
            # a line that falls is of no use, and one steeper than all steps neither
            assert {p for p in within if p >= 0} == {p for p in tried if p >= 0}


def test_corners_are_where_the_domain_has_integers():
    corners = Corners.of(Thresholds(np.array([[-9, 2, 5, 9, 30]]), 0),
                         Domain(-4, 9, np.array([-4, 1, 5, 9])))
    assert corners.first.tolist() == [[-4, 5, 5, 9, 10]]
    assert corners.last.tolist() == [[-5, 1, 1, 5, 9]]
    assert corners.reached.tolist() == [[True, True, True, True, False]]
    assert corners.missed.tolist() == [[False, True, True, True, True]]


@pytest.mark.parametrize(("lo", "hi", "roundest"), [
    (-3, 9, 0), (1, 9, 8), (5, 7, 6), (-7, -5, -6), (-100, -33, -64), (40, 60, 48), (7, 7, 7)])
def test_the_roundest_number_has_the_most_zeros(lo, hi, roundest):
    assert Domain(-200, 200).roundest(lo, hi) == roundest
    assert Domain(-200, 200, np.arange(-200, 201)).roundest(lo, hi) == roundest


def test_the_roundest_number_is_in_the_domain():
    assert Domain(-9, 9, np.array([-9, -5, 3, 6, 9])).roundest(-8, 8) == 6
