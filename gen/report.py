"""Report: where LUTs, flip-flops, DSPs, memory and cycles of a build go, as one HTML file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure

from bittern.gen.cost import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

__all__ = ["report"]

INK, FAINT, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404"
STYLE: Any = {
    "svg.hashsalt": "bittern", # else names in the file are random
    "svg.fonttype": "none",
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "ytick.major.size": 0,
}
# colours of the page, so that they are those of its light or dark form
COLOURS = {INK: "var(--ink)", FAINT: "var(--line)", FIRST: "var(--faint)",
           SECOND: "var(--accent)"}


def report(manifest: Mapping[str, Any]) -> str:
    """Return the page for the manifest of a build; it needs no other file."""
    plan, result = manifest["plan"], manifest["result"]
    kinds = {kind: name for kind, name in KINDS.items() if result[f"available_{kind}"]}
    layers = [{**layer, **result["layers"].get(layer["layer"], dict.fromkeys(kinds, 0))}
              for layer in plan["layers"]]
    used = {kind: sum(layer[kind] for layer in layers) for kind in kinds}
    return _template().render(
        manifest=manifest, plan=plan, result=result, layers=layers, kinds=kinds, used=used,
        shell={kind: result[kind] - used[kind] for kind in kinds},
        luts=_luts(layers), cycles=_cycles(layers, plan["predicted_cycles_per_inference"]))


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)
    environment.filters["n"] = lambda value: f"{value:,}"
    environment.filters["x"] = lambda shape: "x".join(map(str, shape))
    source = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _luts(layers: list[dict[str, Any]]) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = _axes(layers)
        _bars(axes, [layer["estimated_lut4"] for layer in layers], offset=0.19, height=0.36,
              color=FIRST, label="estimated")
        _bars(axes, [layer["lut4"] for layer in layers], offset=-0.19, height=0.36, color=SECOND,
              label="built")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2,
                    borderaxespad=0)
        return _svg(figure)


def _cycles(layers: list[dict[str, Any]], interval: int) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = _axes(layers)
        _bars(axes, [layer["cycles"] for layer in layers], height=0.5, color=SECOND)
        axes.axvline(interval, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.text(interval, len(layers) - 0.45, f"an inference every {interval:,}", ha="right",
                  va="bottom")
        return _svg(figure)


def _axes(layers: list[dict[str, Any]]) -> tuple[Figure, Axes]:
    """Return a figure with a row for each layer, the first on top."""
    figure = Figure(figsize=(4.6, 0.8 + 0.42 * len(layers)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(layers)), [layer["layer"] for layer in reversed(layers)])
    axes.set_ylim(-0.5, len(layers) - 0.5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return figure, axes


def _bars(axes: Axes, values: list[int], *, offset: float = 0, **style: Any) -> None:
    rows = [k + offset for k in reversed(range(len(values)))]
    bars = axes.barh(rows, values, **style)
    axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8)
    axes.margins(x=0.12)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg",
                   metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg"):]
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg
