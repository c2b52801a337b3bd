"""What is wrong with a model file, and how large its tensors may be."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LARGEST", "LARGEST_MAP", "MalformedError", "UnsupportedError", "check_size", "line",
           "refuse"]

LARGEST = 2**25
"""Elements a tensor may have: a damaged file must not take all memory."""
LARGEST_MAP = 2**22
"""Elements an edge of the graph may have, which is computed for many frames at once."""
LINE = 1500
"""Characters of a message that quotes the file."""


class MalformedError(ValueError):
    """Something in the file is wrong, and nothing can be said about the rest."""


class UnsupportedError(ValueError):
    """A node cannot be imported; others may be looked at."""


def check_size(shape: tuple[int, ...]) -> None:
    """Raise :exc:`UnsupportedError` if an edge of this shape is too large."""
    if prod(shape) > LARGEST_MAP:
        raise UnsupportedError(f"makes a tensor of shape {shape}; accepted: {LARGEST_MAP} elements")


def line(error: object) -> str:
    """Return what an error says, which may quote the file, as a line that people can read."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))
    return text if len(text) <= LINE else f"{text[:LINE]} …"


def refuse(name: str, problems: Sequence[str], what: str = "node") -> None:
    """Raise :exc:`UnsupportedError` that lists the problems of a file, if it has any."""
    if problems:
        count = f"{what}s are" if len(problems) > 1 else f"{what} is"
        raise UnsupportedError("\n  ".join([
            f"cannot import {name}: {len(problems)} {count} not supported", *problems]))
