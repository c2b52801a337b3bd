"""Absorption: LUTs in front of the carry chains of the ECP5 move into these.

Half of a ``CCU2C`` adds two bits: a 4-input LUT propagates, ``S = P(A, B, C, D) ^ CIN``, and where
it does not, its entries for ``C = D = 0`` generate, ``COUT = P ? CIN : P(A, B, 0, 0)``. Yosys uses
two of the inputs for operands. So ``f(a, b) + g(c, d)`` fits where ``g(0, 0) = 0``, and so do
``x + f(a, b, c)`` where ``f(a, 0, 0) = 0``, such as an AND, a multiplexer or a majority, and any
function of three inputs that needs none of them to generate. On a separator, ``f(a, b)`` twice,
nothing propagates.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bittern.boards.netlist import Bit, modules

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["absorb"]

PINS = "ABCD"

Lut = tuple[int, tuple[Bit, ...]]
"""A LUT4: its INIT, and its inputs A, B, C, D."""


def absorb(netlist: dict[str, Any]) -> None:
    """Move LUTs of a netlist (Yosys' JSON, of the ECP5) into the carry cells that they feed.

    Those go of which all readers are carry cells with room for their function; what each port
    and each other cell computes remains.
    """
    for module in modules(netlist):
        _Module(module).absorb()


class _Module:
    def __init__(self, module: dict[str, Any]) -> None:
        self.module = module
        self.cells: dict[str, Any] = module["cells"]
        self.readers: dict[int, list[tuple[str, str]]] = {}
        """Cell and port of each pin that reads a net; outputs of the module have no cell."""
        for name, port in module["ports"].items():
            if port["direction"] != "input":
                self._read("", name, port["bits"])
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    self._read(name, port, bits)

    def _read(self, cell: str, port: str, bits: Iterable[Bit]) -> None:
        for bit in bits:
            if isinstance(bit, int):
                self.readers.setdefault(bit, []).append((cell, port))

    def _unread(self, cell: str, port: str) -> None:
        for bit in self.cells[cell]["connections"][port]:
            if isinstance(bit, int):
                self.readers[bit].remove((cell, port))

    def absorb(self) -> None:
        gone: set[Bit] = set()
        waiting = [name for name, cell in self.cells.items() if cell["type"] == "LUT4"]
        while True:
            left = [name for name in waiting if not self._move(name)]
            if len(left) == len(waiting):
                break
            # what a LUT read is now read by a carry cell
            for name in set(waiting) - set(left):
                gone |= set(self.cells.pop(name)["connections"]["Z"])
            waiting = left
        nets = self.module["netnames"]
        for name in [n for n, net in nets.items() if gone.intersection(net["bits"])]:
            bits = ["x" if bit in gone else bit for bit in nets[name]["bits"]]
            if all(bit == "x" for bit in bits):
                del nets[name]
            else:
                nets[name]["bits"] = bits

    def _move(self, name: str) -> bool:
        """Move a LUT into all of its readers, if each has room."""
        lut = self.cells[name]
        (z,) = lut["connections"]["Z"]
        readers = self.readers.get(z, [])
        if "keep" in lut["attributes"] or not readers:
            return False
        halves = sorted({(cell, port[-1]) for cell, port in readers})
        function = _lut(lut, "", "INIT")
        fits: list[Lut] = []
        for cell, half in halves:
            if not cell or self.cells[cell]["type"] != "CCU2C":
                return False
            fit = self._fit(cell, half, function, z)
            if fit is None:
                return False
            fits.append(fit)
        for pin in PINS:
            self._unread(name, pin)
        for (cell, half), (init, inputs) in zip(halves, fits, strict=True):
            ccu2c = self.cells[cell]
            ccu2c["parameters"][f"INIT{half}"] = f"{init:016b}"
            for pin, bit in zip(PINS, inputs, strict=True):
                self._unread(cell, pin + half)
                ccu2c["connections"][pin + half] = [bit]
                self._read(cell, pin + half, [bit])
        return True

    def _fit(self, name: str, half: str, lut: Lut, z: Bit) -> Lut | None:
        """Return INIT and inputs of half of a carry cell that computes `z` by `lut` itself."""
        cell = self.cells[name]
        if half not in "01" or cell["parameters"][f"INJECT1_{half}"] != "NO":
            return None
        adder = _lut(cell, half, f"INIT{half}")
        # inputs of the adder first: what stays keeps its place
        nets = list(dict.fromkeys(bit for bit in (*adder[1], *lut[1])
                                  if isinstance(bit, int) and bit != z))
        if len(nets) > len(PINS):
            return None
        place: dict[Bit, int] = {net: k for k, net in enumerate(nets)}
        place[z] = -1

        def pattern(lut: Lut) -> Lut:
            return lut[0], tuple(place[bit] if isinstance(bit, int) else bit for bit in lut[1])

        found = _fold(pattern(adder), pattern(lut), len(nets), self._carries(cell, half))
        if found is None:
            return None
        init, order = found
        return init, tuple("1" if k is None else nets[k] for k in order)

    def _carries(self, cell: dict[str, Any], half: str) -> bool:
        """Whether something takes the carry of this half."""
        connections = cell["connections"]
        used = any(self.readers.get(bit) for bit in connections.get("COUT", []))
        return used or (half == "0" and any(self.readers.get(bit)
                                            for bit in connections.get("S1", [])))


def _lut(cell: dict[str, Any], half: str, init: str) -> Lut:
    return (int(cell["parameters"][init], 2),
            tuple(cell["connections"][f"{pin}{half}"][0] for pin in PINS))


@cache
def _fold(adder: Lut, lut: Lut, nets: int, carries: bool
          ) -> tuple[int, tuple[int | None, ...]] | None:
    """Return INIT and nets (by number; None is a constant 1) of an adder with a LUT in front.

    Net -1 is from the LUT to the adder. `carries` tells whether its carry matters.
    """
    propagates, generates = [], []
    for case in range(1 << nets):
        z = lut[0] >> _address(lut[1], case, 0) & 1
        address = _address(adder[1], case, z)
        propagates.append(adder[0] >> address & 1)
        generates.append(adder[0] >> (address & 3) & 1)
    for low in combinations(range(nets), min(nets, 2)):
        high = [k for k in range(nets) if k not in low]
        order = (*low, *[None] * (2 - len(low)), *high, *[None] * (2 - len(high)))
        found = _table(order, propagates, generates, carries)
        if found is not None:
            return found, order
    return None


def _address(inputs: Iterable[Bit | None], case: int, z: int) -> int:
    """Return the entry of a LUT where net k is bit k of `case`, and net -1 is `z`."""
    def value(bit: Bit | None) -> int:
        if isinstance(bit, int):
            return z if bit < 0 else case >> bit & 1
        return bit in (None, "1") # a constant x may be anything

    return sum(value(bit) << pin for pin, bit in enumerate(inputs))


def _table(order: tuple[int | None, ...], propagates: list[int], generates: list[int],
           carries: bool) -> int | None:
    """Return the INIT for nets on the pins A to D, if no entry need be both 0 and 1."""
    entries = {_address(order, case, 0): p for case, p in enumerate(propagates)}
    for case, (p, g) in enumerate(zip(propagates, generates, strict=True)):
        if carries and not p and entries.setdefault(_address(order[:2], case, 0), g) != g:
            return None
    return sum(bit << address for address, bit in entries.items())
