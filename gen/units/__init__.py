"""Units that multiply a vector by a matrix of weights, one kind per file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.units.dense import DenseUnit
from bittern.gen.units.factorised import FactorisedUnit
from bittern.gen.units.hardened import EFFORT, HardenedUnit
from bittern.gen.units.sparse import SparseUnit
from bittern.gen.units.unit import Unit

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["EFFORT", "UNITS", "DenseUnit", "HardenedUnit", "Unit", "check_format", "find_units"]

UNITS: tuple[type[Unit], ...] = (DenseUnit, SparseUnit, FactorisedUnit, HardenedUnit)


def find_units(weights: Ints, *, absorbs: bool = False, effort: int = EFFORT, turns: int = 1
               ) -> dict[str, Unit]:
    """Return every unit that holds `weights` without loss, by the name of its format.

    `effort` is that of :class:`HardenedUnit`. Of the units only :class:`DenseUnit` has weights that
    take `turns`.
    """
    if turns > 1:
        return {unit.name: replace(unit, turns=turns)
                for unit in DenseUnit.find(weights, absorbs=absorbs)}
    if found := {unit.name: replace(unit, effort=effort) if isinstance(unit, HardenedUnit) else unit
                 for kind in UNITS for unit in kind.find(weights, absorbs=absorbs)}:
        return found
    raise ValueError(f"no format holds weights of {weights.min()}..{weights.max()}; "
                     "16-bit integers always have one")


def check_format(weights: Ints, name: str) -> None:
    """Raise :exc:`ValueError` unless the format `name` holds `weights`: it names one it does not.

    That is the first value without which the smaller (or the larger) ones can be held, or else the
    first weight with which those before it cannot.
    """
    kinds = {n: kind for kind in UNITS for n in kind.formats()}
    if name not in kinds:
        raise ValueError(f"there is no format {name!r}; there are: {', '.join(sorted(kinds))}")
    if name in find_units(weights):
        return

    def holds(some: Ints) -> bool:
        return any(unit.name == name for unit in kinds[name].find(some))

    hold = f"formats that hold them: {', '.join(find_units(weights))}"
    values = np.unique(weights)
    ascending = values[np.argsort(np.abs(values), kind="stable")]
    for order in (ascending, ascending[::-1]):
        for count in range(len(order) - 1, 0, -1):
            if holds(order[:count, None]):
                raise ValueError(_misfit(weights, name, int((weights == order[count]).argmax()),
                                         hold))
    for count in range(1, weights.size if holds(np.zeros_like(weights)) else 0):
        some = np.where(np.arange(weights.size) < count, weights.ravel(), 0)
        if not holds(some.reshape(weights.shape)):
            raise ValueError(_misfit(weights, name, count - 1, hold))
    raise ValueError(f"format {name!r} does not suit these weights; {hold}")


def _misfit(weights: Ints, name: str, at: int, hold: str) -> str:
    row, column = divmod(at, weights.shape[1])
    return (f"format {name!r} cannot hold the weights: the {weights[row, column]} of output {row}, "
            f"input {column} does not fit; {hold}")
