"""Where it runs."""

from bittern.boards import (
    icebreaker,
    tang_nano_9k,
    tang_primer_20k,
    ulx3s,
    ulx3s_25f,
    ulx3s_45f,
)
from bittern.boards.board import Board

__all__ = ["BOARDS", "board"]

BOARDS: tuple[Board, ...] = (icebreaker.BOARD, tang_nano_9k.BOARD, tang_primer_20k.BOARD,
                            ulx3s_25f.BOARD, ulx3s_45f.BOARD, ulx3s.BOARD)
"""The boards that designs can be built for."""


def board(name: str) -> Board:
    """Return the board called `name`, or raise :exc:`ValueError` that tells which there are."""
    for candidate in BOARDS:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in BOARDS)
    raise ValueError(f"there is no board {name!r}; there are: {names}")
