"""Units that multiply a vector by a matrix of weights, one kind per file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.units.dense import DenseUnit
from bittern.gen.units.sparse import SparseUnit
from bittern.gen.units.unit import Unit

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["UNITS", "Unit", "check_format", "find_units"]

UNITS: tuple[type[Unit], ...] = (DenseUnit, SparseUnit)


def find_units(weights: Ints) -> dict[str, Unit]:
    """Return every unit that holds `weights` without loss, by the name of its format."""
    if found := {unit.name: unit for kind in UNITS for unit in kind.find(weights)}:
        return found
    raise ValueError(f"no format holds weights of {weights.min()}..{weights.max()}; "
                     "16-bit integers always have one")


def check_format(weights: Ints, name: str) -> None:
    """Raise :exc:`ValueError` unless the format `name` holds `weights`: it says which it does not.

    That is the first weight with which the rows before it, and its own up to it, cannot be held.
    """
    names = sorted({n for kind in UNITS for n in kind.names()})
    if name not in names:
        raise ValueError(f"there is no format {name!r}; there are: {', '.join(names)}")
    found = find_units(weights)
    if name in found:
        return
    hold = f"formats that hold them: {', '.join(found)}"
    flat = weights.ravel()
    for fill in (0, flat[0]): # for the weights that are left out
        if name in find_units(np.full_like(weights, fill)):
            break
    else:
        raise ValueError(f"format {name!r} gains nothing with these weights; {hold}")
    fits, fails = 0, flat.size
    while fails - fits > 1:
        middle = (fits + fails) // 2
        some = np.where(np.arange(flat.size) < middle, flat, fill).reshape(weights.shape)
        fits, fails = (middle, fails) if name in find_units(some) else (fits, middle)
    row, column = divmod(fits, weights.shape[1])
    raise ValueError(f"format {name!r} cannot hold the weights: the {flat[fits]} of output {row}, "
                     f"input {column} is the first that does not fit; {hold}")
