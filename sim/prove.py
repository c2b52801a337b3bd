"""Proofs that the gates of operators equal their naive form, for all operands.

    python -m bittern.sim.prove [--only WORDS] [--seconds N] [--jobs N]

Both forms become and-inverter graphs, which the SAT-based equivalence check of ABC compares (A.
Mishchenko et al., "Improvements to Combinational Equivalence Checking", 2006). What it does not
decide as a whole in a few seconds is split into cases, one for each value of some bits of an
operand: a product becomes products by constants. What is too wide for that has lemmas about its
parts.
Exit code 1 if anything is not proven.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amaranth.hdl import UnusedElaboratable
from rich.console import Console
from rich.progress import Progress

from bittern.gen.rtlil import to_rtlil
from bittern.hw.operators import OPERATORS, Function, TruncatedProduct
from bittern.sim.logic import Logic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amaranth.lib import wiring

    from bittern.hw.operators import Operator

__all__ = ["Claim", "Verdict", "claims", "prove"]

WHOLE_SECONDS = 10
CASE_BITS = 8
WIDEST = 40
"""Bits of the operands beyond which nothing is tried as a whole."""
WIDEST_PRODUCT = 17
"""The same where operands are multiplied with each other: no SAT solver knows a short way there."""


class Verdict(Enum):
    """What is known of a claim."""

    PROVEN = "proven"
    DISPROVED = "disproved"
    TIME_OUT = "time out"


@dataclass(frozen=True)
class Claim:
    """Two components with the same ports are one function."""

    name: str
    one: Callable[[], wiring.Component]
    two: Callable[[], wiring.Component]

    def prove(self, seconds: int) -> Verdict:
        """Return what is known of it after `seconds` of a processor at the most."""
        return prove(*(Logic.of_rtlil(to_rtlil(make())) for make in (self.one, self.two)),
                     seconds=seconds)


def claims(operator: Operator) -> list[Claim]:
    """Return what is to be proven of an operator: its lemmas, or that both forms are equal."""
    lemmas: Sequence[tuple[str, Any, Any]] = getattr(operator, "lemmas", list)()
    if lemmas:
        return [Claim(f"{operator}: {name}", lambda c=one: c, lambda c=two: c) # type: ignore[misc]
                for name, one, two in lemmas]
    bits = sum(shape.width for shape in operator.inputs)
    # its naive form adds rows: nothing in it tells of a product
    multiplies = isinstance(operator, TruncatedProduct) or (
        len(operator.inputs) > 1 and bits <= WIDEST
        and "cell $mul " in to_rtlil(Function(operator, naive=True)))
    if bits > (WIDEST_PRODUCT if multiplies else WIDEST):
        return []
    return [Claim(str(operator), lambda: Function(operator),
                  lambda: Function(operator, naive=True))]


def prove(one: Logic, two: Logic, *, seconds: int, whole: int = WHOLE_SECONDS) -> Verdict:
    """Decide whether two circuits with the same inputs and outputs are equal.

    Of the `seconds` of a processor the first `whole` are for the circuits as a whole.
    """
    verdict = _compare(one, two, [], min(seconds, whole)) if whole else Verdict.TIME_OUT
    if verdict is Verdict.TIME_OUT and seconds > whole:
        name = min(one.inputs, key=lambda name: (len(one.inputs[name]) < 2, len(one.inputs[name])))
        bits = [(name, bit) for bit in range(len(one.inputs[name]))]
        bits += [(other, 0) for other in one.inputs if other != name]
        verdict = _compare(one, two, bits[:CASE_BITS], seconds - whole)
    return verdict


def _compare(one: Logic, two: Logic, fixed: Sequence[tuple[str, int]], seconds: int) -> Verdict:
    """Compare circuits, all values of the `fixed` bits beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        for name, logic in (("one.aig", one), ("two.aig", two)):
            graph = _Graph()
            inputs = {key: [graph.input() for _ in literals]
                      for key, literals in sorted(one.inputs.items())}
            outputs = list(chain.from_iterable(
                graph.add(logic, _fix(inputs, fixed, case)) for case in range(1 << len(fixed))))
            Path(folder, name).write_bytes(graph.aiger(outputs))
        # seconds of a processor: what is proven does not depend on what else the machine does
        said = subprocess.run(
            ["sh", "-c", f'ulimit -t {seconds} && exec "$0" -q "cec one.aig two.aig"', _abc()],
            cwd=folder, text=True, capture_output=True, check=False).stdout
    if "Networks are equivalent" in said:
        return Verdict.PROVEN
    if "Networks are NOT EQUIVALENT" in said:
        return Verdict.DISPROVED
    return Verdict.TIME_OUT


def _fix(inputs: Mapping[str, list[int]], fixed: Sequence[tuple[str, int]], case: int
         ) -> dict[str, list[int]]:
    result = {name: list(literals) for name, literals in inputs.items()}
    for k, (name, bit) in enumerate(fixed):
        result[name][bit] = case >> k & 1
    return result


@dataclass
class _Graph:
    """An and-inverter graph under construction; literals 0 and 1 are the constants."""

    inputs: int = 0
    gates: list[tuple[int, int]] = field(default_factory=list)
    known: dict[tuple[int, int], int] = field(default_factory=dict)

    def input(self) -> int:
        self.inputs += 1
        return 2 * self.inputs

    def both(self, a: int, b: int) -> int:
        """Return the AND of two literals."""
        a, b = max(a, b), min(a, b)
        if b == 0 or a == b ^ 1:
            return 0
        if b in (1, a):
            return a
        if (a, b) not in self.known:
            self.gates.append((a, b))
            self.known[a, b] = 2 * (self.inputs + len(self.gates))
        return self.known[a, b]

    def add(self, logic: Logic, inputs: Mapping[str, Sequence[int]]) -> list[int]:
        """Add a circuit on the literals `inputs`; return its outputs, ports in order of name."""
        value = {0: 0}
        for name, literals in logic.inputs.items():
            value |= dict(zip((literal >> 1 for literal in literals), inputs[name], strict=True))
        for out, a, b in logic.gates.tolist():
            value[out >> 1] = self.both(value[a >> 1] ^ a & 1, value[b >> 1] ^ b & 1)
        return [value[literal >> 1] ^ literal & 1
                for _, literals in sorted(logic.outputs.items()) for literal in literals]

    def aiger(self, outputs: Sequence[int]) -> bytes:
        """Return the graph in the binary format (A. Biere, "The AIGER format", 2007)."""
        gates = len(self.gates)
        head = f"aig {self.inputs + gates} {self.inputs} 0 {len(outputs)} {gates}"
        code = bytearray()
        for k, (a, b) in enumerate(self.gates, start=self.inputs + 1):
            for delta in (2 * k - a, a - b):
                while delta > 127:
                    code.append(delta & 127 | 128)
                    delta >>= 7 # noqa: PLW2901
                code.append(delta)
        return "\n".join([head, *map(str, outputs), ""]).encode() + bytes(code)


def _abc() -> Path:
    package = importlib.util.find_spec("pyosys")
    if package is None or package.origin is None:
        raise ValueError("the package pyosys is not installed: pip install pyosys")
    return Path(package.origin).parent / "yosys-abc"


def _all(words: str) -> Iterator[Claim]:
    """Yield all claims about operators whose name has `words`, each once."""
    seen = set()
    for kind in OPERATORS:
        if words.lower() in kind.__name__.lower():
            for operator in [*kind.examples(), *kind.points()]:
                for claim in claims(operator):
                    source = tuple(to_rtlil(make()) for make in (claim.one, claim.two))
                    if source not in seen:
                        seen.add(source)
                        yield claim


def main() -> int:
    """Prove all claims, and print what came of it."""
    warnings.simplefilter("ignore", UnusedElaboratable) # some are only asked for their lemmas
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="operators whose name has these words")
    parser.add_argument("--seconds", type=int, default=300,
                        help="limit for each proof, of a processor")
    parser.add_argument("--jobs", type=int, default=2, help="proofs at a time")
    arguments = parser.parse_args()
    chosen = list(_all(arguments.only))

    def judge(claim: Claim) -> tuple[float, Verdict]:
        start = time.monotonic()
        verdict = claim.prove(arguments.seconds)
        return time.monotonic() - start, verdict

    proven = 0
    with Progress(console=Console(stderr=True)) as progress, \
            ThreadPoolExecutor(arguments.jobs) as pool:
        for claim, (seconds, verdict) in zip(
                chosen, progress.track(pool.map(judge, chosen), total=len(chosen)), strict=True):
            proven += verdict is Verdict.PROVEN
            print(f"{verdict.value:<10} {seconds:7.1f} s  {claim.name}", flush=True)
    print(f"{proven} of {len(chosen)} proven")
    return int(proven < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
