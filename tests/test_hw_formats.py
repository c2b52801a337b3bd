# amaranth: UnusedElaboratable=no
"""Conformance of every format in the index: nothing here names one but to find it."""

import numpy as np
import pytest
from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.gen.rtlil import to_rtlil
from bittern.hw.formats import FORMATS, find_format
from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import Digits
from bittern.sim.logic import Logic

WEIGHTS = [[-1, 1], [-4, 4], [-1, 0, 1], [0, 2, -2], [0, 1], [0], [3, -3], [*range(-8, 8)],
           [*range(-7, 8)], [*range(16)], [*range(-32, 32)], [-2, 1], [127, -128],
           [-3, -1, 1, 3], [-5, 0, 5], [5], [-3, -1], [-7, -5, -3, -1], [-100, 3, 77],
           [-64, -1, 0, 1, 64], [-109, -12, 36, 82, 85], [-33, -9, -7, 2, 5, 17, 21, 26],
           [*range(-17, 18, 2)], [-30000, 12, 21845],
           [1, 2, 4, 8], [-8, -2, 0, 2, 8], [-4, -1, 0, 1, 2, 16], [2, 4, 8, 64], [0, 1, 2, 8, 32],
           [0, *(s << k for k in range(7) for s in (1, -1))], [-7, -5, -3, -1, 1, 3, 5, 7],
           [-30, -18, -9, 0, 7, 15, 36, 60], [16, 17, 20, 33, 36, -31, -28]]
CASES = {str(found): found for kind in FORMATS for w in WEIGHTS
         if (found := kind.find(np.array(w))) and found.width < 9}.values()


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_what_is_found_holds_the_weights(weights):
    fmt = find_format(np.array(weights))
    assert fmt.decode(fmt.encode(np.array(weights))).tolist() == weights


def test_the_cheapest_is_found():
    names = [find_format(np.array(w)).name for w in ([1, -1], [1, 0, -1], [0, 1], [3, 1])]
    assert names == ["binary", "ternary", "digits", "digits"]


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_any_weight_of_up_to_16_bits_has_a_format(bits, signed):
    weights = np.arange(1 << bits) - (signed << (bits - 1))
    fmt = find_format(weights)
    assert np.array_equal(fmt.decode(fmt.encode(weights)), weights)
    assert len(fmt.planes) <= bits // 2 + 1


def test_what_no_format_holds():
    with pytest.raises(ValueError, match=r"no format holds weights of 0\.\.200001"):
        find_format(np.array([0, 200001]))


def test_a_weight_that_has_no_code_is_named():
    with pytest.raises(ValueError, match="cannot hold the weight 7"):
        find_format(np.array([1, -1])).encode(np.array([1, 7]))


class Products(wiring.Component):
    """The sum of the terms of each format, and whether no term is above its limit."""

    def __init__(self, x_width):
        self.x_width = x_width
        super().__init__({port: member for k, fmt in enumerate(CASES) for port, member in (
            (f"fmt{k}_code", In(fmt.width)), (f"fmt{k}_x", In(x_width)),
            (f"fmt{k}_y", Out(40)), (f"fmt{k}_below", Out(1)))})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for k, fmt in enumerate(CASES):
            operand = fmt.expand(getattr(self, f"fmt{k}_code"))
            assert len(operand) == fmt.operand_width
            terms = fmt.times(operand, getattr(self, f"fmt{k}_x"))
            m.d.comb += [
                getattr(self, f"fmt{k}_y").eq(
                    sum((Cat(Const(0, t.shift), t.value) for t in terms), Const(0, 1))),
                getattr(self, f"fmt{k}_below").eq(Cat(t.value <= t.high for t in terms).all())]
        return m


@pytest.mark.parametrize("x_width", [1, 2, 5])
def test_terms_and_correction_make_the_product_for_every_code(x_width):
    logic = Logic.of_rtlil(to_rtlil(Products(x_width)))
    for k, fmt in enumerate(CASES):
        code, x = np.divmod(np.arange(1 << fmt.width + x_width), 1 << x_width)
        found = logic.part(f"fmt{k}_")({"code": code, "x": x}, signed={"y": False, "below": False})
        y = fmt.decode(code) * x - fmt.correction(code, x_width)
        np.testing.assert_array_equal(found["y"], y, err_msg=str(fmt))
        assert found["below"].all(), fmt


@pytest.mark.parametrize("fmt", CASES, ids=str)
def test_what_pads_counts_for_nothing(fmt):
    assert fmt.masks or fmt.decode(np.array(fmt.pad)) == 0


@pytest.mark.parametrize(("weights", "width", "terms"), [
    ([-3, -1, 1, 3], 2, 2), ([0, 5], 1, 2), ([-128, 127], 2, 2), ([-64, -1, 0, 1, 64], 3, 2),
    ([-30000, 12, 21845], 2, 8), ([-7, -5, -3, -1], 3, 2)])
def test_a_codebook_has_as_many_bits_as_tell_its_weights_apart(weights, width, terms):
    found = Codebook.find(np.array(weights))
    assert found.width == width
    assert len(found.times(Signal(found.operand_width), Signal(4))) <= terms
    assert np.array_equal(found.decode(found.encode(np.array(weights))), weights)


@pytest.mark.parametrize("bits", range(3, 7))
def test_a_codebook_of_random_weights(bits):
    rng = np.random.default_rng(bits)
    values = rng.choice(np.arange(-128, 128), 1 << bits, replace=False)
    found = Codebook.find(values)
    assert found.width == bits
    assert np.array_equal(found.decode(found.encode(values)), values)
    assert found.lut4(8) <= 44 + 9 * {3: 1, 4: 1, 5: 3, 6: 7}[bits]


@pytest.mark.parametrize("weights", [[-1, 1], [-1, 0, 1], [0, 1, 2], [*range(-8, 9)], [0]])
def test_a_codebook_that_saves_nothing_is_not_found(weights):
    assert Codebook.find(np.array(weights)) is None


def test_a_codebook_checks_its_parameters():
    inner = Digits.find(np.array([5, -5]))
    with pytest.raises(ValueError, match="operands must be 2, 4, 8, … in number, not 3"):
        Codebook((0, 1, 2), inner)
    with pytest.raises(ValueError, match=r"operands must be in 0\.\.15, not \(0, 16\)"):
        Codebook((0, 16), inner)
    with pytest.raises(ValueError, match="no correction"):
        Codebook((3, 3), inner)
