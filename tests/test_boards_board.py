"""The index of boards, and what each promises."""

import importlib
import pkgutil

import pytest

import bittern.boards
from bittern.boards import BOARDS, board
from bittern.boards.board import Board, Family
from bittern.boards.pll import clock_below
from bittern.boards.routing import PACKAGES

each_board = pytest.mark.parametrize("b", BOARDS, ids=lambda b: b.name)


def test_every_module_with_a_board_is_in_the_index():
    modules = [importlib.import_module(f"bittern.boards.{module.name}")
               for module in pkgutil.iter_modules(bittern.boards.__path__)]
    boards = [module.BOARD for module in modules
              if isinstance(getattr(module, "BOARD", None), Board)]
    assert sorted(b.name for b in boards) == sorted(b.name for b in BOARDS)


def test_names_are_unique():
    assert len({b.name for b in BOARDS}) == len(BOARDS)


@each_board
def test_a_board_is_found_by_its_name(b):
    assert board(b.name) is b


def test_a_board_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match="there is no board 'abacus'; there are: icebreaker, "):
        board("abacus")


@each_board
def test_the_platform_agrees_about_oscillator_package_and_uart(b):
    platform = b.platform()
    assert platform.default_clk == b.oscillator
    assert platform.default_clk_frequency == b.oscillator_mhz * 1e6
    assert platform.lookup("uart")
    # what Amaranth itself tells nextpnr
    (command,) = [command for command in platform.command_templates if "nextpnr" in command]
    if b.family is Family.GOWIN:
        assert "--device {{platform.part}}" in command
        assert platform.part == b.device
        assert platform._chipdb_device == b.package
    else:
        assert "_nextpnr_device_options" in command
        assert platform._nextpnr_device_options[platform.device] == f"--{b.device}"


@each_board
def test_the_default_clock_can_be_made_exactly(b):
    assert clock_below(b.family, b.oscillator_mhz, b.clock_mhz).frequency == b.clock_mhz


@each_board
def test_the_family_has_a_tool_chain(b):
    assert b.family in PACKAGES
