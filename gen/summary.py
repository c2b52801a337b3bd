"""Summary: what there is to tell of a network, its layers and its plan, as JSON can hold it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bittern.gen.cost import KINDS
from bittern.gen.folder import LOAD
from bittern.gen.layers import LoopEntry, LoopExit, Requantize
from bittern.gen.layers.weighted import Weighted
from bittern.gen.search import choices
from bittern.gen.timing import Steps
from bittern.hw.quotient import Quotient
from bittern.hw.scale import Scale
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from bittern.gen.cost import Estimate
    from bittern.gen.ir import Fold, Layer, Tensor
    from bittern.gen.network import Network
    from bittern.gen.plan import Plan
    from bittern.gen.port import Port
    from bittern.hw.requant import Requant

__all__ = ["busy", "header", "summarize_layers", "summarize_network", "summarize_plan", "tensor"]


def tensor(tensor: Tensor) -> dict[str, Any]:
    """Return shape, range and bits."""
    return {"shape": list(tensor.shape), "lo": tensor.lo, "hi": tensor.hi,
            "bits": tensor.element.width}


def summarize_network(network: Network, plan: Plan) -> dict[str, Any]:
    """Return the nodes of the file, the layers that came of them, and formats of their weights."""
    graph, types = plan.graph, plan.types
    layers = summarize_layers(plan)
    for layer, node in zip(layers, graph.nodes, strict=True):
        layer["formats"] = [{
            "format": c.fold.format, "how": c.form.how, "taken": c.taken, "bits": c.form.bits,
            "pe": c.fold.pe, "simd": c.fold.simd, "cycles": c.cycles,
            **{key: getattr(c.cost, key) for key in ("lut4", "dsp", "bram")},
        } for c in choices(plan, node)]
    return {
        "name": network.name,
        "input": {**tensor(graph.input), "file_shape": list(network.input_shape),
                  "stands_for": network.formats.get("input")},
        "output": {**tensor(types[graph.output]),
                   "stands_for": network.formats.get(network.graph.output)},
        "nodes": [{"node": r.node, "op": r.op, "rule": r.rule} for r in network.rules],
        "layers": layers,
        "macs": sum(layer["macs"] for layer in layers),
        "weight_bytes": sum(layer["weight_bytes"] for layer in layers),
        **_busy_of(layers, plan.timing.interval),
    }


def summarize_layers(plan: Plan) -> list[dict[str, Any]]:
    """Return what each layer computes, on what, and how."""
    return [{"layer": node.name, "kind": type(node.layer).__name__, "reads": list(node.inputs),
             **tensor(plan.types[node.name]),
             "how": _how(node.layer, plan.folds[node.name]),
             **_weights(node.layer, plan.folds[node.name], plan.types[node.name],
                        plan.timing.interval)}
            for node in plan.graph.nodes]


def busy(products: int, multipliers: int, interval: int) -> float | None:
    """Return the share of busy multipliers: in how many of its cycles the average one is needed.

    Of so many multipliers, each can make a product in each cycle of the interval from a frame to
    the next. Those `products` of a frame count whose weight is not zero: these multipliers are
    needed for; so is one that multiplies by the filling of a window. What a multiplier is made of
    (of LUTs, half of one of the device) does not matter. None where there are no multipliers.
    """
    return products / (multipliers * interval) if multipliers else None


def _busy_of(layers: list[dict[str, Any]], interval: int) -> dict[str, Any]:
    """Return the multipliers of all layers, and the share of them that is busy."""
    multipliers = sum(layer["multipliers"] for layer in layers)
    return {"multipliers": multipliers,
            "busy": busy(sum(layer["products"] for layer in layers), multipliers, interval)}


def _how(layer: Layer, fold: Fold) -> str:
    match layer:
        case Weighted():
            return f"{fold.format} weights, {layer.forms[fold.format].how}"
        case Requantize(spec=Quotient() as spec) if fold.format:
            return f"{_function(spec)}, {spec.bits} cycles"
        case Requantize(spec=spec):
            return _function(spec)
        case LoopEntry():
            return f"passed {layer.turns} times, up to the end of the loop"
        case LoopExit():
            return "end of the loop"
    return ""


def _function(spec: Requant) -> str:
    each = " per channel" if spec.channels > 1 else ""
    match spec:
        case Thresholds():
            count = spec.values.shape[1]
            return "sign" if spec.is_sign else f"{count} threshold{'s'[:count != 1]}{each}"
        case Scale():
            if not spec.multiplies:
                return f"shift by {spec.shift}"
            bits = int(spec.multiplier.max()).bit_length()
            return f"multiply by {bits} bits, shift by {spec.shift}{each}"
        case Quotient():
            return f"divide by {spec.words[0].width} bits{each}"
    return ""


def _weights(layer: Layer, fold: Fold, y: Tensor, interval: int) -> dict[str, Any]:
    if not isinstance(layer, Weighted):
        return {"macs": 0, "weight_bytes": 0, "products": 0, "multipliers": 0, "busy": None}
    products = int(np.count_nonzero(layer.weights)) * y.vectors
    multipliers = layer.multipliers(fold)
    return {"macs": layer.weights.size * y.vectors,
            "weight_bytes": -(-layer.forms[fold.format].bits // 8),
            "products": products, "multipliers": multipliers,
            "busy": busy(products, multipliers, interval)}


def _counts(estimate: Estimate) -> dict[str, int]:
    return {kind: getattr(estimate, kind) for kind in KINDS}


def _sum(cells: list[dict[str, Any]]) -> dict[str, int]:
    return {f"estimated_{kind}": sum(cell[kind] for cell in cells) for kind in KINDS}


def summarize_plan(plan: Plan) -> dict[str, Any]:
    """Return folds, ports, cells, and what is predicted and estimated of them."""
    cells: list[dict[str, Any]] = [{
        "cell": cell.name,
        "layer": cell.layer,
        "cycles": cell.cycles or None,
        "latency": cell.promise.latency if isinstance(cell.promise, Steps) else None,
        **_counts(cell.cost.on(plan.target_of(cell.layer))),
    } for cell in plan.cells]
    layers, passages = summarize_layers(plan), plan.graph.passages()
    for layer in layers:
        own = [cell for cell in cells if cell["layer"] == layer["layer"]]
        fold = plan.folds[layer["layer"]]
        layer |= {"pe": fold.pe, "simd": fold.simd,
                  "cycles": passages[layer["layer"]] * max((cell["cycles"] or 0 for cell in own),
                                                           default=0),
                  **_sum(own)}
    return {
        "input": _port(plan.input), "output": _port(plan.output),
        "layers": layers, "cells": cells,
        "predicted_cycles_per_inference": plan.timing.interval,
        "predicted_latency_cycles": plan.timing.latency,
        "load_bytes": len(plan.load),
        **{f"estimated_{kind}": count for kind, count in _counts(plan.cost).items()},
        **_busy_of(layers, plan.timing.interval),
    }


def _port(port: Port) -> dict[str, Any]:
    return {**asdict(port), "transfers": port.transfers}


def header(top: str, plan: dict[str, Any]) -> str:
    """Return the comment at the head of the Verilog; `plan` comes from :func:`summarize_plan`."""
    timing = [plan[f"predicted_{key}"] for key in ("cycles_per_inference", "latency_cycles")]
    lines = ["{}: a frame every {:,} cycles, {:,} cycles after its first transfer.".format(
        top, *timing), ""]
    for side, port in (("i", plan["input"]), ("o", plan["output"])):
        sign = "signed" if port["signed"] else "unsigned"
        lines.append(f"stream {side}: frames of {port['vectors'] * port['features']} integers in "
                     f"{port['transfers']} transfers of {port['lanes']}, {port['width']} bits "
                     f"{sign} each, the first in the lowest bits")
    if plan["load_bytes"]:
        lines.append(f"stream load: after reset {plan['load_bytes']:,} bytes of weights, those of "
                     f"{LOAD}; i waits for them")
    rows = [("layer", "kind", "shape", "range", "pe", "simd", "cycles", "how")]
    rows += [(x["layer"], x["kind"], "x".join(map(str, x["shape"])), f"{x['lo']}..{x['hi']}",
              str(x["pe"]), str(x["simd"]), str(x["cycles"]), x["how"]) for x in plan["layers"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)
