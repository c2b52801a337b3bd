"""The command ``bittern``: what is asked, and how it is told; ``jobs`` does it.

What takes long to import is imported where it is used: ``--help`` is instant.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bittern import __version__
from bittern.console import VERBOSE, Commands, fail, progress, show, show_json, table
from bittern.gen.cost import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["main"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="bittern", message="%(prog)s %(version)s")
def main() -> None:
    """Turn a quantized neural network into an FPGA design, proved to the bit.

    Results go to stdout, progress to stderr. Exit code 0: done; 1: bits differ; 2: bad input.
    """


class Rate(click.ParamType):
    """A number of frames a second, or ``max``."""

    name = "N|max"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> float:
        """Return the number; infinite for ``max``."""
        if value == "max":
            return float("inf")
        try:
            rate = float(value)
        except ValueError:
            rate = -1
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is neither a rate above 0 nor max.", param, ctx)
        return rate


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Return all of `decorators` as one."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return decorate


def _verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[VERBOSE] = value


def _formats(_ctx: click.Context, _param: click.Parameter, value: Iterable[str]) -> dict[str, str]:
    chosen = {}
    for item in value:
        layer, equals, name = item.partition("=")
        if not (layer and equals and name):
            raise click.BadParameter(f"{item!r} is not of the form LAYER=NAME.")
        chosen[layer] = name
    return chosen


path = click.Path(path_type=Path)
model = click.argument("model", type=path)
folder = click.argument("folder", metavar="DIR", type=path)
given = click.option("--input", "data", metavar="X", type=path, required=True,
                     help="Frames: .npy, or .npz with an array x (and labels, if there are any).")
target = together(
    click.option("--fps", type=Rate(), metavar="N|max",
                 help="Inferences a second, at least; max: as many as fit. Without it the design "
                      "takes one element of the input a cycle."),
    click.option("--clock", metavar="MHZ", type=click.FloatRange(1, 1000),
                 help="Clock of the design. Default: that of the board."),
    click.option("--format", "formats", metavar="LAYER=NAME", multiple=True, callback=_formats,
                 help="Format to store the weights of a layer in (see bittern inspect), instead of "
                      "the cheapest. May be given several times; of the layer '*': all that it "
                      "holds."),
    click.option("--effort", metavar="N", type=click.IntRange(0),
                 help="Steps in which layers whose weights are wiring are made smaller. Ctrl-C "
                      "takes the best so far. Default: as many as take some seconds."))
any_board = click.option(
    "--board", metavar="B", help="Board to plan for (see bittern boards). Without it: a large "
                                 "device, the ECP5 85F, at 100 MHz.")
output = click.option("-o", "--output", metavar="DIR", type=path, required=True,
                      help="Folder to write; what bittern wrote there before is replaced.")
results = click.option("--output", metavar="Y.npy", type=path, help="File for the outputs.")
floats = click.option("--float", "as_float", is_flag=True,
                      help="Outputs as the reference has them, not as integers.")
common = together(
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose,
                 help="Show where in the program an error came up."))


@main.command()
@model
@any_board
@target
@common
def inspect(*, model: Path, board: str | None, fps: float | None, clock: float | None,
            formats: dict[str, str], effort: int | None, as_json: bool) -> None:
    """Show the layers of a network, which rule took each node, and how weights can be stored."""
    from bittern import jobs
    from bittern.gen.summary import summarize_network

    with progress() as tell:
        compiled = jobs.Compiled.of(model, board, fps, tell, clock_mhz=clock,
                                    formats=formats, effort=effort)
        tell("comparing formats")
        summary = summarize_network(compiled.network, compiled.plan)
    if as_json:
        show_json(summary)
        return
    show(table(f"Nodes of {model.name}", ("node", "operator", "taken as"),
               [(n["node"], n["op"], n["rule"]) for n in summary["nodes"]]),
         table(f"Layers of {summary['name']}",
               ("layer", "kind", "shape", "range", "bits", "how", "MACs", "bytes", "multipliers",
                "busy"),
               [("input", "", _shape(summary["input"]), _range(summary["input"]),
                 summary["input"]["bits"], "", 0, 0, 0, "")]
               + [(x["layer"], x["kind"], _shape(x), _range(x), x["bits"], x["how"], x["macs"],
                   x["weight_bytes"], x["multipliers"], _share(x["busy"]))
                  for x in summary["layers"]],
               ("total", "", "", "", "", "", summary["macs"], summary["weight_bytes"],
                summary["multipliers"], _share(summary["busy"]))),
         table("Formats that hold the weights, * taken; estimates for "
               f"{compiled.plan.target.name}, at least as fast as the whole",
               ("layer", "", "format", "weights", "bits", "pe", "simd", "cycles", "LUT4s", "DSPs",
                "memories"),
               [(x["layer"] if k == 0 else "", "*" if c["taken"] else "", c["format"], c["how"],
                 c["bits"], c["pe"], c["simd"], c["cycles"], c["lut4"], c["dsp"], c["bram"])
                for x in summary["layers"] for k, c in enumerate(x["formats"])]),
         *(f"{side:6} {_shape(summary[side])} integers, each stands for "
           f"{summary[side]['stands_for'] or 'itself'}" for side in ("input", "output")))


def _shape(tensor: dict[str, Any]) -> str:
    return "x".join(map(str, tensor["shape"]))


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.1%}"


def _range(tensor: dict[str, Any]) -> str:
    return f"{tensor['lo']}..{tensor['hi']}"


@main.command()
@model
@given
@results
@floats
@common
def golden(*, model: Path, data: Path, output: Path | None, as_float: bool, as_json: bool) -> None:
    """Run the golden model: what every later stage must equal, bit for bit."""
    from bittern import jobs
    from bittern.gen.importers import read

    with progress() as tell:
        network, frames = read(model), jobs.load(data)
        y = jobs.golden(network, frames.encode(network), tell)
    _outputs(network, y, frames, output, as_float=as_float, as_json=as_json)


def _outputs(network: Any, y: Any, frames: Any, output: Path | None, *, as_float: bool,
             as_json: bool) -> None:
    """Write outputs, or show some of them."""
    from bittern import jobs

    values, right = network.decode(y) if as_float else y, jobs.accuracy(network, y, frames)
    if output:
        jobs.save(output, values)
    classes = jobs.top_1(network, y)
    if as_json:
        result = {"frames": len(y), "shape": list(values.shape[1:]), "accuracy": right}
        show_json(result | ({"output": str(output)} if output else
                            {"y": values.tolist(), "top_1": classes.tolist()}))
        return
    if output:
        show(f"{len(y):,} outputs written to {output}")
    else:
        shown = [(k, " ".join(f"{v:g}" for v in row.ravel()[:16]) + " …" * (row.size > 16), str(c))
                 for k, (row, c) in enumerate(zip(values[:5], classes, strict=False))]
        show(table(f"{min(len(y), 5)} of {len(y):,} outputs", ("frame", "output", "top-1"), shown))
    if right is not None:
        show(f"accuracy {right:.2%} of {len(y):,}")


@main.command()
@model
@output
@any_board
@target
@common
def generate(*, model: Path, output: Path, board: str | None, fps: float | None,
             clock: float | None, formats: dict[str, str], effort: int | None,
             as_json: bool) -> None:
    """Write Verilog, a manifest and a testbench that anyone can run."""
    from bittern import jobs

    with progress() as tell:
        compiled = jobs.Compiled.of(model, board, fps, tell, clock_mhz=clock,
                                    formats=formats, effort=effort)
        manifest = jobs.generate(compiled, output, tell)
    if as_json:
        show_json(manifest)
        return
    plan = manifest["plan"]
    show(_plan(plan), f"{plan['predicted_cycles_per_inference']:,} cycles per inference, latency "
                      f"{plan['predicted_latency_cycles']:,} cycles",
         f"{output / manifest['verilog']['file']}: top module {manifest['verilog']['top']}",
         f"simulate it: make -C {output / 'testbench'}")


def _plan(plan: dict[str, Any]) -> Any:
    kinds = {kind: name for kind, name in KINDS.items()
             if kind != "spram" or plan["estimated_spram"]}
    return table("", ("layer", "kind", "how", "pe", "simd", "cycles", *kinds.values()),
                 [(x["layer"], x["kind"], x["how"], x["pe"], x["simd"], x["cycles"],
                   *(x[f"estimated_{kind}"] for kind in kinds))
                  for x in plan["layers"]],
                 ("estimate", "", "", "", "", "",
                  *(plan[f"estimated_{kind}"] for kind in kinds)))


@main.command()
@model
@given
@click.option("--count", metavar="N", type=click.IntRange(1), default=32, show_default=True,
              help="Frames to simulate: the first N, or all if there are fewer.")
@click.option("--seed", metavar="S", type=click.IntRange(0, 2**31 - 1), default=1,
              show_default=True, help="Seed of the random stalls.")
@any_board
@target
@common
def simulate(*, model: Path, data: Path, count: int, seed: int, board: str | None,
             fps: float | None, clock: float | None, formats: dict[str, str], effort: int | None,
             as_json: bool) -> None:
    """Simulate the Verilog in Verilator and compare every bit with the golden model.

    All frames go through twice: back to back, and with random stalls on both sides. The cycles
    must be those predicted, too (the interval from 6 frames on). Exit code 1 if not.
    """
    from bittern import jobs

    try:
        with progress() as tell:
            frames = jobs.load(data)
            compiled = jobs.Compiled.of(model, board, fps, tell, clock_mhz=clock,
                                    formats=formats, effort=effort)
            found = jobs.simulate(compiled, frames, count, seed, tell)
    except AssertionError as error:
        fail(str(error), code=1)
    if as_json:
        show_json(found)
    else:
        show(table("", ("simulated", compiled.top), _simulated(found)))
    if not found["exact"]:
        fail(f"the simulation is not exact: {found['mismatch']}", code=1)
    if not found["as_predicted"]:
        fail("the simulation took other cycles than predicted", code=1)


def _simulated(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "exact", "yes" if found["exact"] else f"no: {found['mismatch']}"
    yield "compared", (f"{found['compared']:,} integers of {found['frames']} frames, without "
                       f"stalls and with {found['stall']:.0%}")
    if found["accuracy"] is not None:
        yield "accuracy", f"{found['accuracy']:.2%} of {found['frames']}"
    yield "cycles per inference", (f"{found['cycles_per_inference'] or 'unknown'} (predicted "
                                   f"{found['predicted_cycles_per_inference']})")
    yield "latency", (f"{found['latency_cycles']} cycles (predicted "
                      f"{found['predicted_latency_cycles']})")
    yield "seed", str(found["seed"])


@main.command()
@model
@click.option("--board", metavar="B", required=True, help="Board to build for (bittern boards).")
@output
@target
@click.option("--seed", metavar="S", type=click.IntRange(0, 2**31 - 1), default=1,
              show_default=True, help="Seed of place and route.")
@common
def build(*, model: Path, board: str, output: Path, fps: float | None, clock: float | None,
          formats: dict[str, str], effort: int | None, seed: int, as_json: bool) -> None:
    """Build the bitstream for a board, and the report of where its resources go."""
    from bittern import jobs

    with progress() as tell:
        compiled = jobs.Compiled.of(model, board, fps, tell, clock_mhz=clock,
                                    formats=formats, effort=effort)
        result = jobs.build(compiled, output, seed, tell)
    if fps and result["inferences_per_second"] < fps < float("inf"):
        click.echo(f"the clock was missed, and so is --fps {fps:,.0f}: plan for what is reached, "
                   f"--clock {int(result['clock_mhz'])}", err=True)
    if as_json:
        show_json(result)
        return
    kinds = {kind: name for kind, name in KINDS.items() if result[f"available_{kind}"]}
    network = {kind: sum(layer[kind] for layer in result["layers"].values()) for kind in kinds}
    show(table("", ("resource", "estimated", "network", "with host link", "of the board's"),
               [(name, result[f"estimated_{kind}"], network[kind], result[kind],
                 result[f"available_{kind}"]) for kind, name in kinds.items()]),
         table("", ("speed", ""), _speed(result)),
         f"report     {output / 'report.html'}",
         f"load it    bittern flash {output}")


def _speed(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "clock", f"{result['clock_mhz']:.2f} MHz (fmax {result['fmax_mhz']:.2f} MHz)"
    yield "inside the chip", (f"{result['inferences_per_second']:,.0f} inferences/s, one every "
                              f"{result['predicted_cycles_per_inference']:,} cycles")
    yield "over the UART", f"{result['uart_inferences_per_second']:,.0f} inferences/s"
    yield "latency", (f"{result['latency_us']:.2f} us, "
                      f"{result['predicted_latency_cycles']:,} cycles")


@main.command()
@folder
@common
def flash(*, folder: Path, as_json: bool) -> None:
    """Load the bitstream in DIR onto the board that is plugged in."""
    from bittern.boards.flash import flash as load
    from bittern.gen.folder import read_manifest

    with progress() as tell:
        manifest = read_manifest(folder)
        tell("flashing")
        board = load(folder, manifest)
    lasts = board.flash.lasts
    if as_json:
        show_json({"board": board.name, "bitstream": manifest["bitstream"], "lasts": lasts})
    else:
        show(f"{manifest['bitstream']} is on the {board.title}"
             f"{'' if lasts else ' until power is off'}",
             f"run data   bittern run {folder} --port PORT --input X")


@main.command()
@folder
@click.option("--port", metavar="P", required=True,
              help="Serial port of the board: /dev/ttyUSB1, COM3, …")
@given
@results
@floats
@common
def run(*, folder: Path, port: str, data: Path, output: Path | None, as_float: bool,
        as_json: bool) -> None:
    """Send frames through the board that holds the design in DIR."""
    from bittern import jobs

    with progress() as tell:
        frames = jobs.load(data)
        network, y = jobs.run(folder, port, frames, tell)
    _outputs(network, y, frames, output, as_float=as_float, as_json=as_json)


@main.command()
@common
def boards(*, as_json: bool) -> None:
    """List the boards."""
    from dataclasses import asdict

    from bittern.boards import BOARDS

    if as_json:
        show_json([{"name": b.name, "title": b.title, "family": b.family.value,
                    "device": b.device, **asdict(b.resources), "clock_mhz": b.clock_mhz,
                    "baud": b.baud} for b in BOARDS])
        return
    show(table("", ("name", "board", "family", "device", "LUT4s", "DSPs", "memories", "clock"),
               [(b.name, b.title, b.family.value, b.device, b.resources.lut4, b.resources.dsp,
                 f"{b.resources.bram} x {b.resources.bram_bits:,} bits", f"{b.clock_mhz:g} MHz")
                for b in BOARDS]))


@main.command()
@common
def formats(*, as_json: bool) -> None:
    """List the formats of weights, and of the files that are read."""
    from bittern.gen.importers import IMPORTERS
    from bittern.gen.units import UNITS

    files = [(", ".join(i.SUFFIXES), (i.__doc__ or "").split("\n")[0]) for i in IMPORTERS]
    weights = [item for kind in UNITS for item in kind.formats().items()]
    if as_json:
        show_json({"files": [{"suffixes": s, "what": what} for s, what in files],
                   "weights": [{"name": name, "what": what} for name, what in weights]})
        return
    show(table("Model files", ("suffix", "what"), files),
         table("Weights: all that hold them are found, and the cheapest is taken",
               ("name", "what"), weights))
