"""RTLIL of a component, as Yosys can safely take it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amaranth.back import rtlil  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value
    from amaranth.hdl import Elaboratable

__all__ = ["for_yosys", "to_rtlil"]

HUGE = re.compile(r'attribute \\ram_style "huge"\n\s+memory .* \\(\S+)\n')


def to_rtlil(component: Elaboratable, name: str = "top", *,
             ports: Sequence[Value] | None = None) -> str:
    """Return `component` as RTLIL whose top module is `name`, free of machine paths.

    `ports` must be given for what is no :class:`amaranth.lib.wiring.Component`.
    """
    return for_yosys(rtlil.convert(component, name=name, ports=ports, emit_src=False))


def for_yosys(source: str) -> str:
    """Return the RTLIL that Amaranth makes as Yosys can safely take it."""
    return _safe_names("\nend\n".join(map(_without_contents, source.split("\nend\n"))))


def _without_contents(module: str) -> str:
    """Leave out what Amaranth says is in SPRAM at first: no bitstream fills it."""
    for memory in HUGE.findall(module):
        module = re.sub(r"\n  cell \$meminit_v2 \S+\n"
                        rf'    parameter \\MEMID "\\\\{memory}"\n(?:    .*\n)*  end\n', "", module)
    return module


def _safe_names(source: str) -> str:
    """Rename the wires that show the lanes of an array: ``payload[3]`` becomes ``payload__3``.

    Yosys splits wires into bits of just such names, and takes the one for the other: at best it
    then stops, at worst a bit of the netlist is constant.
    """
    return re.sub(r"(\\[^\s\[]+)\[(\d+)\]", r"\1__\2", source)
