"""Measure cells on every family: LUTs, flip-flops, DSPs, memories, and MHz when routed.

    python benchmarks/measure_cells.py [--only WORDS] [--jobs N] [--counts] [--again]

Measured are all `points()` of `hw.operators.OPERATORS` and all `POINTS` of `benchmarks/points/`, in
our form and as one would write it. What is stored in `benchmarks/results/cells.json` and whose
netlist source, tools, device and seed are the same is not measured again.
Exit code 1 if anything could not be measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import inspect
import json
import math
import pkgutil
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import points
from amaranth import Module
from amaranth.hdl import UnusedElaboratable
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from common import ECP5_25F, GW2A, HX8K, RESULTS, UP5K, load, save, say
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bittern.boards import absorb, block_registers, dsp_pairs, dsp_registers
from bittern.boards.board import Device, Family
from bittern.boards.measure import Measurement, count_all, measure_all
from bittern.boards.routing import WAYS
from bittern.boards.synthesis import script
from bittern.boards.toolchain import tools
from bittern.boards.usage import Usage
from bittern.gen.rtlil import to_rtlil
from bittern.hw.operators import OPERATORS, Function, Operator
from bittern.hw.pipeline import Stages

SEED = 1 # and router2 on the ECP5, with which what is stored was measured
CLOCK_MHZ = 200
BATCH = 6 # clocks; the iCE40 and Gowin have 8 nets for them

DEVICES = {Family.ICE40: HX8K, Family.ECP5: ECP5_25F, Family.GOWIN: GW2A}
# what changes a netlist after Yosys
CHANGES = {(Family.ICE40, False): [], (Family.ICE40, True): [dsp_pairs],
           (Family.ECP5, False): [absorb], (Family.ECP5, True): [absorb, dsp_registers],
           (Family.GOWIN, False): [], (Family.GOWIN, True): []}
BLOCK = re.compile(r'r[ao]m_style "block"')
MULTIPLIER = re.compile(r"cell (\$mul|\\SB_MAC16|\\MULT\w+) ")


class Registered(wiring.Component):
    """An operator with the registers inside it."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        super().__init__({**{f"i{k}": In(s) for k, s in enumerate(operator.inputs)},
                          **{f"o{k}": Out(s) for k, s in enumerate(operator.outputs)}})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        operands = [getattr(self, f"i{k}") for k in range(len(self.operator.inputs))]
        results = self.operator.gates(Stages(m), *operands)
        m.d.comb += [getattr(self, f"o{k}").eq(y) for k, y in enumerate(results)]
        return m


@dataclass(frozen=True)
class Cell:
    """A cell with its parameters, and what it says of itself."""

    name: str
    parameters: str
    file: str
    does: str
    latency: int | None
    forms: dict[str, Callable[[], wiring.Component]]
    """Makes of ``ours`` and ``naive``."""
    dsp: bool | None
    """Whether it may take multipliers of the device; None: if there is a product in it."""
    estimate: Callable[[Family], float] | None
    bound: Callable[[Family], tuple[float, str]] | None


@dataclass
class Task:
    """A form of a cell on a device."""

    cell: Cell
    form: str
    device: Device
    dsp: bool
    key: str
    """Of all that the result depends on."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.cell.name}, {self.cell.parameters}, {self.form}, {self.device.title}"


def parameters(value: Any) -> str:
    """Describe the fields of a specification in few words."""
    return ", ".join(f"{field.name} {in_words(item)}" for field in dataclasses.fields(value)
                     if repr(item := getattr(value, field.name)) != repr(field.default))


def in_words(item: Any) -> str:
    """Describe the value of a field in few words."""
    if dataclasses.is_dataclass(item):
        return f"{type(item).__name__}({parameters(item)})"
    if isinstance(item, (tuple, list, np.ndarray)):
        array = np.array(item, dtype=object)
        if array.size > 6 and all(isinstance(x, (int, np.integer)) for x in array.flat):
            return (f"{' x '.join(map(str, array.shape))} integers of "
                    f"{min(array.flat)}..{max(array.flat)}")
        if array.size > 6:
            return " x ".join(map(str, array.shape))
    return str(item)


def first_line(kind: object) -> str:
    """Return what the docstring of a class begins with."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def file_of(kind: type) -> str:
    """Return the path of the module of a class within the project."""
    package, _, module = kind.__module__.partition(".")
    path = module if package == "bittern" else f"benchmarks.{package}.{module}"
    return str(Path(path.replace(".", "/")).with_suffix(".py"))


def cells() -> Iterator[Cell]:
    """Yield all there is to measure."""
    for kind in OPERATORS:
        for operator in kind.points():
            yield Cell(
                kind.__name__, parameters(operator), file_of(kind), first_line(kind),
                operator.latency,
                {"ours": lambda op=operator: Registered(op), # type: ignore[misc]
                 "naive": lambda op=operator: Function(op, naive=True)}, # type: ignore[misc]
                getattr(operator, "dsp", None), operator.lut4, operator.bound)
    for module in pkgutil.iter_modules(points.__path__):
        for point in getattr(import_module(f"points.{module.name}"), "POINTS", ()):
            made = point.make()
            yield Cell(
                point.cell, point.parameters, file_of(type(made)), first_line(type(made)),
                getattr(made, "latency", None),
                {"ours": point.make} | ({"naive": point.naive} if point.naive else {}),
                point.dsp, getattr(made, "lut4", None),
                None if point.bound is None else (
                    lambda _, p=point: (p.bound, p.why))) # type: ignore[misc]


def tasks(cell: Cell) -> Iterator[Task]:
    """Yield what is to be measured of a cell."""
    sources = {form: to_rtlil(make()) for form, make in cell.forms.items()}
    dsp = bool(MULTIPLIER.search(sources["ours"])) if cell.dsp is None else cell.dsp
    for family, device in DEVICES.items():
        if dsp and family is Family.ICE40:
            device = UP5K # noqa: PLW2901 # that of the family with multipliers
        for form, source in sources.items():
            depends = [source, script(family, "top", "cell", dsp=dsp), device.device, device.speed,
                       SEED, CLOCK_MHZ, tools(family)]
            blocks = [block_registers] if family is Family.ECP5 and BLOCK.search(source) else []
            depends += [Path(change.__file__).read_text()
                        for change in CHANGES[family, dsp] + blocks]
            key = hashlib.sha256(repr(depends).encode()).hexdigest()[:16]
            yield Task(cell, form, device, dsp, key)


def measure(batch: list[Task]) -> Iterator[tuple[Task, Measurement | str]]:
    """Measure tasks on one device together; where that fails, in halves; yield what went wrong."""
    try:
        device = batch[0].device
        found = measure_all([task.cell.forms[task.form]() for task in batch], device,
                            clock_mhz=CLOCK_MHZ, seed=SEED, dsp=batch[0].dsp,
                            ways=WAYS[::-1] if device.family is Family.ECP5 else WAYS)
        yield from zip(batch, found, strict=True)
    except Exception as error: # one cell that cannot be built must not end the run
        if len(batch) == 1:
            yield batch[0], f"{type(error).__name__}: {error}"
        else:
            yield from measure(batch[:len(batch) // 2])
            yield from measure(batch[len(batch) // 2:])


def measure_counts(batch: list[Task]) -> Iterator[tuple[Task, Usage | str]]:
    """Count the cells of tasks on one device, as :func:`measure`, but place and route nothing."""
    try:
        found = count_all([task.cell.forms[task.form]() for task in batch],
                          batch[0].device.family, dsp=batch[0].dsp)
        yield from zip(batch, found, strict=True)
    except Exception as error: # one cell that cannot be built must not end the run
        if len(batch) == 1:
            yield batch[0], f"{type(error).__name__}: {error}"
        else:
            yield from measure_counts(batch[:len(batch) // 2])
            yield from measure_counts(batch[len(batch) // 2:])


def counted(usage: Usage, task: Task) -> dict[str, Any]:
    """Return counts as they are kept until they are measured."""
    return {**dataclasses.asdict(usage), "placed_lut4": None, "mhz": None,
            "device": task.device.title, "routed": False}


def stored(result: Measurement, task: Task) -> dict[str, Any]:
    """Return a result as it is kept."""
    # nextpnr knows no delay of the multipliers of Gowin
    known = math.isfinite(result.fmax_mhz) and not (
        task.device.family is Family.GOWIN and result.usage.dsp)
    return {**dataclasses.asdict(result.usage), "placed_lut4": result.placed.lut4,
            "mhz": round(result.fmax_mhz, 1) if known else None, "device": task.device.title}


def batches(missing: Iterable[Task]) -> list[list[Task]]:
    """Put together what can be measured in one run."""
    groups = defaultdict(list)
    for task in missing:
        groups[task.device.title, task.dsp].append(task)
    return [group[k:k + BATCH] for group in groups.values() for k in range(0, len(group), BATCH)]


def keep(results: dict[str, Any]) -> None:
    """Store what there is so far: a run that is interrupted goes on from there."""
    RESULTS.mkdir(exist_ok=True)
    fresh = RESULTS / ".cells.json"
    fresh.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    fresh.replace(RESULTS / "cells.json") # whole or not at all


def described(cell: Cell, keys: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Return what is kept of a cell beside its measurements: `keys` leads to these."""
    families = {}
    for family in DEVICES:
        entry: dict[str, Any] = {form: keys[family.value, form] for form in cell.forms}
        if cell.estimate:
            entry["estimate"] = round(float(cell.estimate(family)), 1)
        if cell.bound:
            bound, why = cell.bound(family)
            entry |= {"bound": round(float(bound), 1), "why": why}
        families[family.value] = entry
    return {"cell": cell.name, "parameters": cell.parameters, "file": cell.file, "does": cell.does,
            "latency": cell.latency, "families": families}


def main() -> int:
    """Measure what is not yet stored."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cells whose name has these words")
    parser.add_argument("--jobs", type=int, default=2, help="runs of nextpnr at a time")
    parser.add_argument("--counts", action="store_true",
                        help="only count the cells of netlists: place and route nothing")
    parser.add_argument("--again", action="store_true", help="measure what is stored, too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UnusedElaboratable) # some are only asked what they are
    kept = load("cells")
    done: dict[str, dict[str, Any]] = kept.get("measurements", {})
    chosen = [cell for cell in cells() if arguments.only.lower() in cell.name.lower()]
    todo = [list(tasks(cell)) for cell in chosen]
    entries = [described(cell, {(task.device.family.value, task.form): task.key for task in group})
               for cell, group in zip(chosen, todo, strict=True)]
    names = {entry["cell"] for entry in entries}
    others = [entry for entry in kept.get("cells", ()) if arguments.only
              and entry["cell"] not in names]
    used = {entry["families"][family.value].get(form) for entry in others + entries
            for family in DEVICES for form in ("ours", "naive")}
    done = {key: found for key, found in done.items() if key in used}
    results = {"cells": others + entries, "measurements": done, "seed": SEED,
               "clock_mhz": CLOCK_MHZ, "tools": {family.value: tools(family) for family in DEVICES}}
    missing = {task.key: task for group in todo for task in group
               if arguments.again or "error" in (found := done.get(task.key, {"error": "none yet"}))
               or not (arguments.counts or found.get("routed", True))}
    measured = measure_counts if arguments.counts else measure
    say(f"{len(chosen)} cells with their parameters; netlists not yet measured: {len(missing)}")
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(arguments.jobs) as pool:
        bar = progress.add_task("measuring", total=len(missing))
        runs = [pool.submit(lambda tasks: list(measured(tasks)), batch)
                for batch in batches(missing.values())]
        for run in as_completed(runs):
            for task, result in run.result():
                if isinstance(result, str):
                    failed += 1
                    say(f"{task.label}: {result}")
                    done[task.key] = {"error": result.split(" (all of its log")[0]}
                else:
                    done[task.key] = (stored if isinstance(result, Measurement) else counted)(
                        result, task)
                progress.advance(bar)
            keep(results)
    save("cells", results)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
