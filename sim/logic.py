"""Logic of a netlist on all of its inputs: 64 cases in each word operation of NumPy."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.yosys import yosys
from bittern.sim.netlist import FAMILIES, share_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bittern.hw.ints import Ints

__all__ = ["Logic"]

FLATTEN = ("proc", "flatten", "opt -full", "memory_map", "techmap", "opt -fast", "aigmap",
           "opt_clean", "write_aiger -ascii -symbols logic.aag")


@dataclass(frozen=True)
class Logic:
    """An and-inverter graph: each gate is the AND of two literals (2 k, or 2 k + 1 negated)."""

    gates: NDArray[np.int64]
    """``(gates, 3)``: the literal it drives, and those it reads; in topological order."""
    inputs: dict[str, list[int]]
    """Literals of each port, its lowest bit first."""
    outputs: dict[str, list[int]]

    @classmethod
    def of_rtlil(cls, rtlil: str, top: str = "top") -> Logic:
        """Take the RTLIL of a module without registers."""
        return _read(("read_rtlil source",), rtlil, top)

    @classmethod
    def of_netlist(cls, verilog: str, family: str, top: str = "top") -> Logic:
        """Take structural Verilog in cells of one of :data:`bittern.sim.netlist.FAMILIES`."""
        models, share = FAMILIES[family], share_folder()
        defines = " ".join(f"-D{name}" for name in models.defines)
        # a black box gives way to our model of it
        own = [Path(__file__).parent / "models" / name for name in models.own]
        # of two models of a cell the first is kept; ours is not a black box
        return _read(("read_verilog -sv source", *(
            f"read_verilog -sv -nooverwrite -defer {defines} {path}"
            for path in [*own, *(share / name for name in models.yosys)])), verilog, top)

    def part(self, prefix: str) -> Logic:
        """Return what drives the outputs whose names begin with `prefix`, names without it."""
        inputs, outputs = ({name.removeprefix(prefix): literals for name, literals in side.items()
                            if name.startswith(prefix)} for side in (self.inputs, self.outputs))
        needed = {literal >> 1 for port in outputs.values() for literal in port}
        gates = []
        for out, a, b in reversed(self.gates.tolist()):
            if out >> 1 in needed:
                gates.append((out, a, b))
                needed |= {a >> 1, b >> 1}
        # few numbers: the memory for values of gates goes by the greatest
        names = {0: 0}
        for literals in [*inputs.values(), [out for out, _, _ in reversed(gates)]]:
            names |= {literal >> 1: len(names) + k for k, literal in enumerate(literals)}

        def renamed(literals: Sequence[int]) -> list[int]:
            return [names[literal >> 1] << 1 | literal & 1 for literal in literals]

        return Logic(np.array([renamed(gate) for gate in reversed(gates)], np.int64).reshape(-1, 3),
                     {name: renamed(literals) for name, literals in inputs.items()},
                     {name: renamed(literals) for name, literals in outputs.items()})

    def __call__(self, operands: Mapping[str, Ints], *, signed: Mapping[str, bool]
                 ) -> dict[str, Ints]:
        """Return the integers on the outputs for arrays ``(cases,)`` on the inputs.

        `signed` tells which outputs are in two's complement.
        """
        cases = len(next(iter(operands.values())))
        words = -(-cases // 64)
        size = int(max([self.gates[:, 0].max(initial=0),
                        *(lit for port in self.inputs.values() for lit in port)])) // 2 + 1
        state = np.zeros((size, words), dtype=np.uint64)
        for name, literals in self.inputs.items():
            values = np.zeros(words * 64, dtype=np.int64)
            values[:cases] = operands[name]
            for bit, literal in enumerate(literals):
                bits = (values >> min(bit, 63) & 1).astype(np.uint8)
                state[literal >> 1] = np.packbits(bits, bitorder="little").view("<u8")
        ones = np.uint64(0xFFFFFFFFFFFFFFFF)

        def value(literal: int) -> NDArray[np.uint64]:
            word: NDArray[np.uint64] = state[literal >> 1]
            return word ^ ones if literal & 1 else word

        for out, a, b in self.gates.tolist():
            np.bitwise_and(value(a), value(b), out=state[out >> 1])
        results = {}
        for name, literals in self.outputs.items():
            total = np.zeros(cases, dtype=np.int64)
            for bit, literal in enumerate(literals):
                bits = np.unpackbits(value(literal).view(np.uint8), bitorder="little")
                weight = -1 if signed[name] and bit == len(literals) - 1 else 1
                total += bits[:cases].astype(np.int64) * weight << bit
            results[name] = total
        return results


def _read(script: Sequence[str], source: str, top: str) -> Logic:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").write_text(source)
        yosys([*script, f"hierarchy -top {top}", *FLATTEN], folder)
        return _parse((folder / "logic.aag").read_text())


def _parse(text: str) -> Logic:
    """Read ASCII AIGER 1.9 (A. Biere et al., "AIGER 1.9 and Beyond", 2011), without latches."""
    lines = text.splitlines()
    _, inputs, latches, outputs, gates, *_ = map(int, lines[0].split()[1:])
    if latches:
        raise ValueError(f"logic with {latches} registers is no function of its inputs")
    at = 1
    ins = [int(line) for line in lines[at:at + inputs]]
    outs = [int(line) for line in lines[at + inputs:at + inputs + outputs]]
    at += inputs + outputs
    table = np.array([line.split() for line in lines[at:at + gates]], dtype=np.int64)
    ports: tuple[dict[str, list[tuple[int, int]]], ...] = ({}, {})
    for line in lines[at + gates:]:
        if match := re.fullmatch(r"([io])(\d+) ([^\[]+)(?:\[(\d+)\])?", line):
            kind, index, name, bit = match.groups()
            literal = (ins if kind == "i" else outs)[int(index)]
            ports[kind == "o"].setdefault(name.strip(), []).append((int(bit or 0), literal))
    return Logic(table.reshape(-1, 3), *({name: [literal for _, literal in sorted(bits)]
                                         for name, bits in side.items()} for side in ports))
