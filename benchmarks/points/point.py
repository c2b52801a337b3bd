"""A cell with its parameters, as it is measured by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring


@dataclass(frozen=True)
class Point:
    """What is measured: a component, and what it is compared with."""

    cell: str
    """Heading under which it stands in docs/cells.md."""
    parameters: str
    make: Callable[[], wiring.Component]
    naive: Callable[[], wiring.Component] | None = None
    """The same function as one would write it."""
    bound: float | None = None
    """Lower bound on its 4-input LUT sites."""
    why: str = ""
    """Why that is a bound."""
    dsp: bool = False
    """Whether Yosys may take multipliers of the device."""
