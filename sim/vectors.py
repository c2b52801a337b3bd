"""Vectors: what goes through a simulated design. Results: what came out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bittern.gen.port import Port
    from bittern.hw.ints import Ints

__all__ = ["Mismatch", "Results", "Vectors"]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Frames for a design, and the frames that must come out.

    Parameters
    ----------
    i, o
        The ports of the design.
    x
        Input frames, ``(frames, …)``.
    y
        Output frames, or `None`: then they must be the same with and without stalls.
    stall
        Probability that a side stalls in a cycle, in the second of the two passes.
    limit
        Cycles without a transfer after which a simulation gives up: some times what the design
        needs between two transfers.
    load
        What fills memories of the design at start, through its stream ``load``.
    """

    i: Port
    o: Port
    x: Ints
    y: Ints | None = None
    stall: float = 0.3
    limit: int = 100_000
    load: bytes = b""

    def __post_init__(self) -> None:
        if self.y is not None and len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} input frames but {len(self.y)} output frames")
        if not 0 <= self.stall < 1:
            raise ValueError(f"a side stalls with a probability in 0..1, not {self.stall}")

    def to_json(self) -> str:
        """Return the vectors as ``cocotb_stream.py`` reads them."""
        return json.dumps({
            "inputs_per_frame": self.i.transfers,
            "outputs_per_frame": self.o.transfers,
            "stall": self.stall,
            "limit": self.limit,
            "load": self.load.hex(),
            "masks": [f"{mask:x}" for mask in self.o.masks],
            "inputs": [f"{payload:x}" for payload in self.i.pack(self.x)],
            "outputs": None if self.y is None else
                       [f"{payload:x}" for payload in self.o.pack(self.y)],
        }, indent=1) + "\n"


@dataclass(frozen=True)
class Mismatch:
    """Where an output differs from what was expected, first."""

    stall: float
    """Probability of stalls in the pass that shows it."""
    frame: int
    transfer: int
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"frame {self.frame}, transfer {self.transfer}"
        when = "under stalls" if self.stall else "without stalls"
        return f"{where}, {when}: expected {self.expected}, found {self.found} (hexadecimal)"


@dataclass(frozen=True, eq=False)
class Results:
    """What a simulation found out."""

    y: Ints
    """Output frames of the pass without stalls, ``(frames, features)``."""
    mismatch: Mismatch | None
    """The first difference in either pass."""
    latency_cycles: int
    """From taking the first input transfer to giving the last output transfer of that frame."""
    cycles_per_inference: int | None
    """Between the ends of the last two frames; unknown if there was only one."""
    cycles: int
    """Simulated in both passes."""
    seed: int

    @property
    def exact(self) -> bool:
        """Whether every defined bit was as expected, with and without stalls."""
        return self.mismatch is None

    @classmethod
    def from_json(cls, text: str, vectors: Vectors) -> Results:
        """Return what ``cocotb_stream.py`` wrote."""
        found = json.loads(text)
        return cls(
            y=vectors.o.unpack(int(payload, 16) for payload in found["outputs"]),
            mismatch=Mismatch(**found["mismatch"]) if found["mismatch"] else None,
            latency_cycles=found["latency_cycles"],
            cycles_per_inference=found["cycles_per_inference"],
            cycles=sum(found["cycles"]),
            seed=found["seed"])
