"""Run a design in Verilator, through a harness in C++: for volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.progress import Progress, silent
from bittern.sim.vectors import Mismatch, Results, Vectors
from bittern.sim.verilate import execute, verilate, write_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bittern.gen.port import Port
    from bittern.hw.ints import Ints

__all__ = ["build", "run", "simulate"]

LOG = "simulation.log"


def run(verilog: str | Path, vectors: Vectors, folder: Path, *, seed: int, toplevel: str = "top",
        extra_sources: Sequence[Path] = (), defines: Sequence[str] = (), args: Sequence[str] = (),
        progress: Progress = silent) -> Results:
    """Simulate a design: all frames back to back, without stalls and then with random ones.

    Parameters, results and errors are those of :func:`bittern.sim.verilator.run`, and so are the
    cycles; the random stalls differ. More arguments for Verilator may be given in `args`.
    """
    program = build(verilog, folder, toplevel=toplevel, extra_sources=extra_sources,
                    defines=defines, args=args, progress=progress)
    return simulate(program, vectors, folder, seed=seed, progress=progress)


def build(verilog: str | Path, folder: Path, *, toplevel: str = "top",
          extra_sources: Sequence[Path] = (), defines: Sequence[str] = (),
          args: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Compile a design and the harness; return the program for :func:`simulate`."""
    progress("compile", 0)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return verilate([write_source(verilog, folder, toplevel), *extra_sources],
                    Path(__file__).with_name("harness.cpp"), folder / "verilated",
                    toplevel=toplevel, defines=defines, args=args, log=folder / LOG)


def simulate(program: Path, vectors: Vectors, folder: Path, *, seed: int,
             progress: Progress = silent) -> Results:
    """Run what :func:`build` made; the rest is as in :func:`run`."""
    progress("simulate", 0)
    folder = folder.resolve()
    given, image, found = folder / "inputs.bin", folder / "load.bin", folder / "results.bin"
    image.write_bytes(vectors.load)
    i, o, frames = vectors.i, vectors.o, len(vectors.x)
    to_words(i, vectors.x).tofile(given)
    inputs, outputs = i.transfers * frames, o.transfers * frames
    arguments = (i.bits, inputs, o.bits, outputs, seed, vectors.stall, vectors.limit)
    execute([program, given, image, found, *map(str, arguments)], folder / LOG,
            on_progress=lambda part: progress("simulate", part))

    words = -(-o.bits // 32)
    passes = np.fromfile(found, np.dtype([("first_input", "<i8"), ("ends", "<i8", outputs),
                                          ("payloads", "<u4", (outputs, words))]))
    payloads = passes["payloads"].reshape(2, frames, -1, words)
    expected = payloads[0] if vectors.y is None else \
        to_words(o, vectors.y).reshape(payloads[0].shape)
    ends = passes["ends"].reshape(2, frames, -1)[:, :, -1]
    return Results(
        y=o.from_bytes(payloads[0].reshape(outputs, words).view(np.uint8)),
        mismatch=first_mismatch(vectors, expected, payloads),
        latency_cycles=int(ends[0, 0] - passes[0]["first_input"]),
        cycles_per_inference=int(ends[0, -1] - ends[0, -2]) if frames > 1 else None,
        cycles=int(ends[:, -1].sum()),
        seed=seed)


def first_mismatch(vectors: Vectors, expected: NDArray[np.uint32],
                   payloads: NDArray[np.uint32]) -> Mismatch | None:
    """Return where the first pass that differs from ``(frames, transfers, words)`` does so."""
    masks = np.frombuffer(b"".join(mask.to_bytes(4 * payloads.shape[-1], "little")
                                   for mask in vectors.o.masks), "<u4")
    masks = masks.reshape(payloads.shape[2:])
    wrong = np.argwhere(((payloads ^ expected) & masks).any(axis=-1))
    if not len(wrong):
        return None
    run, frame, transfer = (int(k) for k in wrong[0])
    texts = (f"{int.from_bytes((side[frame, transfer] & masks[transfer]).tobytes(), 'little'):x}"
             for side in (expected, payloads[run]))
    return Mismatch((0.0, vectors.stall)[run], frame, transfer, *texts)


def to_words(port: Port, x: Ints) -> NDArray[np.uint32]:
    """Return the payloads of the frames `x` as ``(transfers, words)``, in whole 32-bit words."""
    raw = port.to_bytes(x)
    return np.pad(raw, ((0, 0), (0, -raw.shape[1] % 4))).view("<u4")
