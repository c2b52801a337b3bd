"""How large and how fast components are on a device, by themselves."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amaranth import (
    Cat,
    ClockDomain,
    ClockSignal,
    DomainRenamer,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.boards.netlist import count
from bittern.boards.routing import WAYS, Pace, route
from bittern.boards.synthesis import synthesis
from bittern.boards.usage import check_fits, synthesized
from bittern.gen.rtlil import to_rtlil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.boards.board import Device, Family
    from bittern.boards.usage import Usage

__all__ = ["Measurement", "count_all", "measure", "measure_all"]

CLOCK = re.compile(r"clk_(\d+)")


@dataclass(frozen=True)
class Measurement:
    """What a component takes, without the registers put around it."""

    usage: Usage
    """Cells of its netlist."""
    placed: Usage
    """Sites that they take, and those that nextpnr adds: to enter and leave carry chains, say."""
    fmax_mhz: float
    """Routed, between registers; infinite where nextpnr knows no path."""
    wires_ns: float
    """What wires take of the slowest path."""


class Harness(wiring.Component):
    """Components between registers: few pins, and every path through each is timed.

    Each has a clock of its own, so that none is judged, nor placed, by the pace of another.
    """

    i: Signal
    load: Signal
    rst: Signal
    o: Signal

    def __init__(self, components: Sequence[Any]) -> None:
        self.components = components
        super().__init__({"i": In(1), "load": In(1), "rst": In(1), "o": Out(1),
                          **{f"clk_{k}": In(1) for k in range(len(components))}})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        lasts = []
        for k, component in enumerate(self.components):
            clock = f"clk_{k}"
            m.domains += ClockDomain(clock)
            m.d.comb += [ClockSignal(clock).eq(getattr(self, clock)),
                         ResetSignal(clock).eq(self.rst)]
            m.submodules[f"component_{k}"] = DomainRenamer(clock)(component)
            ports = list(component.signature.flatten(component))
            inputs = Cat(port for _, member, port in ports if member.flow is In)
            outputs = Cat(port for _, member, port in ports if member.flow is Out)
            shifted = Signal(len(inputs), name=f"shifted_{k}", reset_less=True)
            loaded = Signal(len(outputs), name=f"loaded_{k}", reset_less=True)
            # registers at the pins, too: nextpnr may leave what is tied to a pin untimed
            i, load, o = (Signal(name=f"{port}_{k}", reset_less=True)
                          for port in ("i", "load", "o"))
            m.d[clock] += [
                i.eq(self.i), load.eq(self.load), o.eq(loaded[:1]),
                shifted.eq(Cat(i, shifted)), loaded.eq(loaded >> 1)]
            with m.If(load):
                m.d[clock] += loaded.eq(outputs)
            m.d.comb += inputs.eq(shifted)
            lasts.append(o)
        m.d.comb += self.o.eq(Cat(lasts).xor())
        return m


def measure(component: wiring.Component, device: Device, *, clock_mhz: float, seed: int = 1,
            dsp: bool = True, ways: Sequence[tuple[str, str]] = WAYS) -> Measurement:
    """Place and route `component` alone on `device`, as :func:`measure_all` does."""
    return measure_all([component], device, clock_mhz=clock_mhz, seed=seed, dsp=dsp, ways=ways)[0]


def measure_all(components: Sequence[wiring.Component], device: Device, *, clock_mhz: float,
                seed: int = 1, dsp: bool = True,
                ways: Sequence[tuple[str, str]] = WAYS) -> list[Measurement]:
    """Place and route `components` side by side on `device`, each with a clock of its own.

    Without `dsp` products are made of LUTs; `ways` are as of :func:`route`. A device has 8 (iCE40,
    Gowin) or 16 (ECP5) nets for clocks.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modules, netlist = _synthesize(components, device.family, folder, dsp=dsp)
        check_fits(synthesized(device.family, count(netlist, "top")), device)
        pins = zip(netlist["modules"]["top"]["ports"], device.pins(), strict=False)
        Path(folder, "top.cst").write_text("".join(
            f'IO_LOC "{port}" {pin};\n' for port, pin in pins))
        routed = route(device, folder, clock_mhz=clock_mhz, seed=seed, pins=False,
                       ways=ways,
                       layers={module: module.removeprefix("top.") for module in modules})
    paces = {int(found[1]): pace for net, pace in routed.clocks.items()
             if (found := CLOCK.search(net))}
    return [Measurement(_usage(netlist, module, device.family), routed.layers[module],
                        *paces.get(k, Pace()))
            for k, module in enumerate(modules)]


def count_all(components: Sequence[wiring.Component], family: Family, *,
              dsp: bool = True) -> list[Usage]:
    """Return what the netlist of each of `components` takes, which is not placed."""
    with tempfile.TemporaryDirectory() as name:
        modules, netlist = _synthesize(components, family, Path(name), dsp=dsp)
        return [_usage(netlist, module, family) for module in modules]


def _synthesize(components: Sequence[wiring.Component], family: Family, folder: Path, *,
                dsp: bool) -> tuple[list[str], dict[str, Any]]:
    """Return the modules of `components`, and the netlist that is in `folder`."""
    source = to_rtlil(Harness(components))
    Path(folder, "top.il").write_text(source)
    modules = [f"top.component_{k}" for k in range(len(components))]
    # a component that is only wires is no module any more
    synthesis(family, folder, "top", dsp=dsp,
              keep=[module for module in modules if f"\nmodule \\{module}\n" in source])
    return modules, json.loads(Path(folder, "top.json").read_text())


def _usage(netlist: dict[str, Any], module: str, family: Family) -> Usage:
    return synthesized(family, count(netlist, module) if module in netlist["modules"] else {})
