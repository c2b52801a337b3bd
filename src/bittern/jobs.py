# amaranth: UnusedElaboratable=no
"""Jobs: what the commands do, from files to files; each returns what there is to tell of it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from bittern.boards import board as board_named
from bittern.boards.host import Device, pack, unpack
from bittern.boards.toolchain import build as build_bitstream
from bittern.boards.toolchain import tools
from bittern.gen.compile import compile_network, probe
from bittern.gen.cost import KINDS
from bittern.gen.design import Design
from bittern.gen.folder import LOAD, MANIFEST, new_folder, read_manifest
from bittern.gen.identifier import identifier
from bittern.gen.importers import read
from bittern.gen.ir import INPUT
from bittern.gen.layers.dense import Dense
from bittern.gen.port import Port
from bittern.gen.report import report
from bittern.gen.summary import header, summarize_plan
from bittern.gen.units import EFFORT, HardenedUnit
from bittern.gen.verilog import to_verilog
from bittern.hw.serial import Serial
from bittern.sim import testbench, verilator
from bittern.sim.vectors import Vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bittern.boards.board import Board
    from bittern.console import Tell
    from bittern.gen.network import Network
    from bittern.gen.plan import Plan
    from bittern.hw.ints import Ints

__all__ = ["Compiled", "Data", "accuracy", "build", "generate", "golden", "load", "run", "save",
           "simulate", "top_1"]

NO_BOARD = replace(board_named("ulx3s_85f").target(100), name="no board")
"""What is planned for where no board is asked for: a large device, at 100 MHz."""

TESTBENCH_FRAMES = 16
TESTBENCH_SEED = 1
BATCH, BATCH_ELEMENTS = 1000, 2**23
"""Frames, and elements of the largest tensor, that the golden model computes at a time."""
UART_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Data:
    """Frames from a file."""

    x: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any] | None
    path: Path

    def encode(self, network: Network, count: int | None = None) -> Ints:
        """Return the integers that the chip takes for the first `count` frames."""
        try:
            return network.encode(self.x[:count])
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


def load(path: Path) -> Data:
    """Return the frames in a ``.npy``, or in the array ``x`` of an ``.npz``, with its labels.

    Raises
    ------
    ValueError
        If there are none.
    """
    arrays = _arrays(path)
    if "x" not in arrays:
        raise ValueError(f"{path} has no array x, but {', '.join(arrays) or 'nothing'}")
    x, labels = arrays["x"], arrays.get("labels")
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{path}: x has type {x.dtype}; accepted: integers and floats")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"{path}: x is empty, of shape {x.shape}")
    if labels is not None and labels.shape != (len(x),):
        raise ValueError(f"{path}: {len(x)} frames but labels of shape {labels.shape}")
    return Data(x, labels, path)


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return all arrays of a file; the one of a ``.npy`` is ``x``."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"x": content}
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(f"{path} is neither .npy nor .npz, or holds Python objects; accepted: "
                             "arrays of numbers") from None
        raise ValueError(f"{path} is damaged: {error}") from None


def top_1(network: Network, y: Ints) -> Ints:
    """Return the class of each output: where it is largest, or itself where it is one number."""
    scores = network.decode(y).reshape(len(y), -1)
    return (scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0]).astype(np.int64)


def accuracy(network: Network, y: Ints, data: Data) -> float | None:
    """Return the share of right classes, if labels are there."""
    if data.labels is None:
        return None
    return float((top_1(network, y) == data.labels[:len(y)]).mean())


def golden(network: Network, x: Ints, tell: Tell) -> Ints:
    """Run the golden model."""
    parts = []
    largest = max(tensor.size for tensor in network.graph.types().values())
    batch = max(1, min(BATCH, BATCH_ELEMENTS // largest))
    for start in range(0, len(x), batch):
        tell("golden model", start / len(x))
        parts.append(network.graph.golden(x[start:start + batch]))
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A model file, and the plan and Verilog of its network on a target."""

    path: Path
    source: bytes
    network: Network
    board: Board | None
    plan: Plan
    fps: float | None

    @classmethod
    def of(cls, path: Path, board: str | None, fps: float | None, tell: Tell, *,
           clock_mhz: float | None = None, formats: Mapping[str, str] | None = None,
           effort: int | None = None) -> Compiled:
        """Read and plan a model."""
        chosen = board_named(board) if board else None
        tell("reading the model")
        network = read(path)
        x = network.graph.input
        target = chosen.target(clock_mhz, frame=-(-x.size * x.element.width // 8)) if chosen else \
            replace(NO_BOARD, clock_mhz=clock_mhz or NO_BOARD.clock_mhz)
        tell("planning")
        plan = compile_network(network, target, fps, formats,
                               EFFORT if effort is None else effort)
        _harden(plan, tell)
        return cls(path, path.read_bytes(), network, chosen, plan, fps)

    @property
    def top(self) -> str:
        """Name of the top module."""
        return identifier(self.network.name)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is known before anything is synthesized."""
        return summarize_plan(self.plan)

    @cached_property
    def verilog(self) -> str:
        """The Verilog, with a header for people."""
        first, body = to_verilog(Design(self.plan), self.top).split("\n", 1)
        return f"{first}\n{header(self.top, self.summary)}{body}"

    @cached_property
    def identity(self) -> bytes:
        """Eight bytes that name model, plan and Verilog."""
        return hashlib.sha256(sha256(self.source).encode() + self.verilog.encode()).digest()[:8]

    def serial(self, clock_mhz: float) -> Serial:
        """Return the design behind its host link."""
        assert self.board is not None
        divisor, _ = uart(self.board.baud, clock_mhz)
        return Serial(Design(self.plan), i_transfers=self.plan.input.transfers,
                      o_transfers=self.plan.output.transfers, identity=self.identity,
                      divisor=divisor)

    def manifest(self) -> dict[str, Any]:
        """Return what goes with the output: nothing of when, where and by whom."""
        types = self.plan.graph.types()
        formats = self.network.formats
        packages = ("amaranth", "cocotb", "numpy", "onnx", "pyosys", "verilator")
        return {
            "bittern": version("bittern"),
            "name": self.network.name,
            "board": self.board.name if self.board else None,
            "target": asdict(self.plan.target),
            "fps": str(self.fps) if self.fps == float("inf") else self.fps,
            "model": {"file": self.path.name, "sha256": sha256(self.source)},
            "verilog": {"file": f"{self.top}.v", "top": self.top,
                        "sha256": sha256(self.verilog.encode())},
            "identity": self.identity.hex(),
            "seeds": {"testbench": TESTBENCH_SEED},
            "versions": {"python": platform.python_version(),
                         **{package: version(package) for package in packages}},
            "frames": {
                "input": {"shape": list(types[INPUT].shape), "lo": types[INPUT].lo,
                          "hi": types[INPUT].hi, "stands_for": formats.get(INPUT)},
                "output": {"shape": list(types[self.plan.graph.output].shape),
                           "lo": types[self.plan.graph.output].lo,
                           "hi": types[self.plan.graph.output].hi,
                           "stands_for": formats.get(self.network.graph.output)},
            },
            "plan": self.summary,
            **({"load": {"file": LOAD, "bytes": len(image), "sha256": sha256(image)}}
               if (image := self.plan.load) else {}),
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """Write Verilog, model, testbench and manifest to `folder`; return the manifest."""
        manifest = self.manifest()
        file = f"{self.top}.v"
        (folder / file).write_text(self.verilog)
        (folder / manifest["model"]["file"]).write_bytes(self.source)
        if "load" in manifest:
            (folder / LOAD).write_bytes(self.plan.load)
        x = probe(self.plan.graph.input)[:TESTBENCH_FRAMES]
        testbench.write(folder / "testbench", f"../{file}", self.vectors(x), toplevel=self.top)
        write_json(folder / MANIFEST, manifest)
        return manifest

    def vectors(self, x: Ints) -> Vectors:
        """Return frames for the design, and what the network as it was read makes of them."""
        limit = max(100_000, 10 * self.plan.timing.latency)
        return Vectors(self.plan.input, self.plan.output, x, self.network.graph.golden(x),
                       limit=limit, load=self.plan.load)


def _harden(plan: Plan, tell: Tell) -> None:
    """Search for the adders of each layer whose weights are wiring, and tell of it."""
    for node in plan.graph.nodes:
        name = plan.folds[node.name].format
        unit = node.layer.units.get(name) if isinstance(node.layer, Dense) else None
        if isinstance(unit, HardenedUnit):
            def progress(step: int, sites: int, layer: str = node.name,
                         effort: int = unit.effort) -> None:
                tell(f"{layer} as wiring, {sites:,} LUTs", step / effort)

            unit.plan(plan.types[node.inputs[0]].element, progress=progress)


def generate(compiled: Compiled, output: Path, tell: Tell) -> dict[str, Any]:
    """Write the output folder without a bitstream; return the manifest."""
    with new_folder(output) as folder:
        tell("writing Verilog")
        return compiled.write(folder)


def simulate(compiled: Compiled, data: Data, count: int, seed: int, tell: Tell) -> dict[str, Any]:
    """Simulate the Verilog and compare every bit."""
    x = data.encode(compiled.network, count)
    tell("writing Verilog")
    vectors, source = compiled.vectors(x), compiled.verilog
    expected = compiled.network.graph.golden(x)
    folder = Path(tempfile.mkdtemp(prefix="bittern-"))
    started: dict[str, float] = {}

    def progress(step: str, part: float) -> None:
        started.setdefault(step, time.monotonic())
        tell(STEPS.get(step, step), part)

    # kept where the simulation fails: its message names the log
    found = verilator.run(source, vectors, folder, seed=seed, toplevel=compiled.top,
                          progress=progress)
    seconds = time.monotonic() - started["simulate"]
    shutil.rmtree(folder, ignore_errors=True)
    timing = compiled.plan.timing
    steady = len(x) >= STEADY
    return {
        "exact": found.exact,
        "as_predicted": found.latency_cycles == timing.latency and
                        (not steady or found.cycles_per_inference == timing.interval),
        "frames": len(x),
        "compared": 2 * len(x) * compiled.plan.output.size,
        "mismatch": str(found.mismatch) if found.mismatch else None,
        "cycles_per_inference": found.cycles_per_inference,
        "predicted_cycles_per_inference": timing.interval,
        "latency_cycles": found.latency_cycles,
        "predicted_latency_cycles": timing.latency,
        "accuracy": accuracy(compiled.network, found.y.reshape(expected.shape), data),
        "stall": vectors.stall,
        "seed": seed,
        "seconds": round(seconds, 1),
    }


STEPS = {"compile": "compiling the simulation", "simulate": "simulating"}
STEADY = 6
"""Frames after which the interval is what it stays."""


def build(compiled: Compiled, output: Path, seed: int, tell: Tell) -> dict[str, Any]:
    """Write the output folder with bitstream and report; return the results."""
    board = compiled.board
    assert board is not None
    with new_folder(output) as folder:
        tell("writing Verilog")
        manifest = compiled.write(folder)
        cells = {f"core.{cell.name}": cell for cell in compiled.plan.cells}
        layers = {name: _bounds(cell.cost.shallow(compiled.plan.target_of(cell.layer)))
                  for name, cell in cells.items()}
        built = build_bitstream(compiled.serial, board, folder, layers=layers,
                                clock_mhz=compiled.plan.target.clock_mhz, seed=seed,
                                image=compiled.plan.load, progress=tell)
        hertz, plan = built.clock_mhz * 1e6, compiled.plan
        _, baud = uart(board.baud, built.clock_mhz)
        wire = 10 * max(5 + port.transfers * -(-port.bits // 8)
                        for port in (plan.input, plan.output))
        per_layer: dict[str, dict[str, int]] = {}
        for name, cell in cells.items():
            usage = per_layer.setdefault(cell.layer, dict.fromkeys(KINDS, 0))
            for kind in usage:
                usage[kind] += getattr(built.per_module[name], kind)
        result = {
            "board": board.name,
            "fps": manifest["fps"],
            **{kind: getattr(built, kind) for kind in KINDS},
            **{key: value for key, value in compiled.summary.items()
               if key.startswith(("estimated_", "predicted_"))},
            **{f"available_{kind}": getattr(board.resources, kind) for kind in KINDS},
            "fmax_mhz": built.fmax_mhz,
            "clock_mhz": built.clock_mhz,
            "wanted_mhz": built.wanted_mhz,
            "inferences_per_second": hertz / plan.timing.interval,
            "uart_inferences_per_second": min(baud / wire, hertz / plan.timing.interval),
            "latency_us": plan.timing.latency / built.clock_mhz,
            "layers": per_layer,
            "tools": tools(board.family),
            "seed": seed,
            "baud": baud,
            "bitstream": built.bitstream,
        }
        manifest["seeds"]["place_and_route"] = seed
        manifest |= {"bitstream": built.bitstream, "baud": baud, "result": result}
        manifest["bitstream_sha256"] = sha256((folder / built.bitstream).read_bytes())
        write_json(folder / MANIFEST, manifest)
        tell("writing the report")
        (folder / "report.html").write_text(report(manifest), encoding="utf-8")
        return result


def _bounds(memories: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the most words and bits of some memories, if there are any."""
    shapes = list(memories)
    depths, widths = zip(*shapes, strict=True) if shapes else ((), ())
    return (max(depths), max(widths)) if shapes else None


def save(path: Path, values: np.ndarray[Any, Any]) -> None:
    """Write an array, whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
            fresh = Path(file.name)
            try:
                np.save(file, values)
                file.close()
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error


def run(folder: Path, port: str, data: Data, tell: Tell) -> tuple[Network, Ints]:
    """Send frames through the board that holds the design of `folder`."""
    manifest = read_manifest(folder)
    if "bitstream" not in manifest:
        raise ValueError(f"{folder} holds no bitstream: make it with bittern build")
    network = read(folder / manifest["model"]["file"])
    x = data.encode(network)
    ports = [Port(**{f.name: side[f.name] for f in fields(Port)})
             for side in (manifest["plan"]["input"], manifest["plan"]["output"])]
    tell("opening the port")
    with Device(port, manifest["baud"], design=bytes.fromhex(manifest["identity"])) as device:
        answers = device.infer(pack(ports[0], x),
                               progress=lambda done: tell("running on the board", done / len(x)))
    shape = manifest["frames"]["output"]["shape"]
    return network, unpack(ports[1], answers).reshape(len(x), *shape)


def uart(baud: int, clock_mhz: float) -> tuple[int, int]:
    """Return cycles per bit, and the rate: `baud`, or half of it until the clock makes it well."""
    while True:
        ideal = clock_mhz * 1e6 / baud
        if ideal >= 4 and abs(round(ideal) / ideal - 1) <= UART_TOLERANCE:
            return round(ideal), baud
        baud //= 2


def sha256(content: bytes) -> str:
    """Return the hash as it is commonly written."""
    return hashlib.sha256(content).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON, the same bytes every time."""
    path.write_text(json.dumps(content, indent=1) + "\n")
