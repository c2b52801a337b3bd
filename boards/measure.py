"""How large and how fast one component is on a device, by itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.boards.routing import route
from bittern.boards.synthesis import synthesis
from bittern.boards.usage import check_fits, synthesized
from bittern.gen.rtlil import to_rtlil

if TYPE_CHECKING:
    from bittern.boards.board import Board
    from bittern.boards.usage import Usage

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What a component takes, routed, without the registers put around it."""

    usage: Usage
    fmax_mhz: float


class Harness(wiring.Component):
    """`component` between registers: few pins, and every path through it is timed."""

    i: Signal
    load: Signal
    o: Signal

    def __init__(self, component: Any) -> None:
        super().__init__({"i": In(1), "load": In(1), "o": Out(1)})
        self.component = component

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        m.submodules.component = self.component
        ports = list(self.component.signature.flatten(self.component))
        inputs = Cat(port for _, member, port in ports if member.flow is In)
        outputs = Cat(port for _, member, port in ports if member.flow is Out)
        shifted = Signal(len(inputs))
        loaded = Signal(len(outputs))
        m.d.sync += [shifted.eq(Cat(self.i, shifted)), loaded.eq(loaded >> 1)]
        with m.If(self.load):
            m.d.sync += loaded.eq(outputs)
        m.d.comb += [inputs.eq(shifted), self.o.eq(loaded[:1])]
        return m


def measure(component: wiring.Component, board: Board, *, clock_mhz: float | None = None,
            seed: int = 1) -> Measurement:
    """Place and route `component` alone on the device of `board`, aiming at `clock_mhz`."""
    aim = board.clock_mhz if clock_mhz is None else clock_mhz
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Path(folder, "top.il").write_text(to_rtlil(Harness(component)))
        cells = synthesis(board.family, folder, "top", keep=["top.component"])
        check_fits(synthesized(board.family, cells), board)
        routed = route(board, folder, clock_mhz=aim, seed=seed, pins=False,
                       layers={"component": "component"})
    return Measurement(routed.layers["component"], routed.fmax_mhz)
