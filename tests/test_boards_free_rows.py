"""Rows of slices of the ECP5 that are left free."""

import re

import pytest

from bittern.boards import BOARDS
from bittern.boards.board import Family
from bittern.boards.free_rows import FREE, leave_rows

PLACE = re.compile(r"X(\d+)/Y(\d+)/SLICE[AC]\.K0")
PART = 4
"""Of the LUTs of a tile, one in so many."""


@pytest.mark.parametrize("board", [board for board in BOARDS if board.family is Family.ECP5],
                         ids=lambda board: board.name)
def test_every_other_row_has_luts_that_nothing_reads(board):
    module = {"cells": {}, "netnames": {"a": {"bits": [3, "0", 7]}}}
    leave_rows({"modules": {"top": module}}, board.device)
    places = [PLACE.fullmatch(cell["attributes"]["BEL"]) for cell in module["cells"].values()]
    assert all(name.startswith(FREE) for name in module["cells"])
    assert len({place[0] for place in places}) == len(places)
    rows = {int(place[2]) for place in places}
    assert not {row + 1 for row in rows} & rows
    row = PART * len(places) // len(rows)
    assert board.resources.lut4 - 2 * PART * len(places) in (0, row) # of an odd number of rows
    nets = [cell["connections"]["Z"] for cell in module["cells"].values()]
    assert nets == [[net] for net in range(8, 8 + len(places))]
