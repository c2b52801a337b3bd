from bittern.boards.carries import end_carries


def test_a_carry_that_nothing_reads_ends_where_it_is():
    def carry(cin, cout):
        return {"type": "CCU2C", "connections": {"CIN": [cin], "COUT": [cout]},
                "port_directions": {"CIN": "input", "COUT": "output"}}

    cells = {"first": carry("0", 2), "last": carry(2, 3), "read": carry("0", 4),
             "given": carry("0", 5),
             "lut": {"type": "LUT4", "connections": {"A": [4]}, "port_directions": {"A": "input"}}}
    end_carries({"modules": {"top": {"attributes": {}, "cells": cells,
                                     "ports": {"o": {"bits": [5]}}}}})
    assert [cell["connections"]["COUT"] for cell in cells.values() if cell["type"] == "CCU2C"] == [
        [2], ["x"], [4], [5]]
