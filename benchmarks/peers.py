"""The cases of `hardened.py` by da4ml, the best of the other generators, through the same tools.

    pip install --group peers
    python benchmarks/peers.py [--only WORDS]

Its Verilog, combinational and in a pipeline, is synthesized for the ECP5 as suits it best
(`synth_ecp5` without multipliers, flattened at its end: Yosys would undo what adders share) and
counted as ours is; what it computes is compared with the vectors of the case. Results go into
`benchmarks/results/hardened.json`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import load, save, say, shared
from hardened_page import FORMS, PEERS

from bittern.boards.board import Family
from bittern.boards.netlist import count
from bittern.boards.usage import synthesized
from bittern.gen.yosys import yosys

CUTOFFS = dict(zip(FORMS, (-1.0, 5.0), strict=True))
"""Adders between registers, as da4ml counts them."""


def traced(z: Any) -> Any:
    """Return the logic of a case of dense layers."""
    from da4ml.trace import (  # noqa: PLC0415 # only this benchmark needs it
        FixedVariableArrayInput,
        comb_trace,
    )
    lo, hi, layers = int(z["in_lo"]), int(z["in_hi"]), int(z["n_layers"])
    x = start = FixedVariableArrayInput(z["W0"].shape[1])
    x = x.quantize(int(lo < 0), max(hi, -lo - 1).bit_length(), 0)
    for k in range(layers):
        x = x @ z[f"W{k}"].astype(float).T
        if str(z[f"act{k}"]) == "none":
            continue
        x = (x + z[f"B{k}"].astype(float)) * 2.0 ** -int(z[f"s{k}"])
        if k == layers - 1:
            x = x.quantize(1, 30, 0, round_mode="TRN")
        else:
            x = x.relu().quantize(0, int(z[f"hi{k}"]).bit_length(), 0, overflow_mode="SAT",
                                  round_mode="TRN")
    return comb_trace(start, x)


def run(path: Path) -> dict[str, Any]:
    """Return what da4ml makes of a case."""
    from da4ml.codegen import RTLModel  # noqa: PLC0415 # only this benchmark needs it
    with np.load(path, allow_pickle=False) as z:
        logic = traced(z)
        vectors = len(z["x_test"])
        y = np.asarray(logic.predict(z["x_test"].astype(float))).reshape(vectors, -1)
        found: dict[str, Any] = {"correct": bool((y == z["y_test"].reshape(vectors, -1)).all())}
    for form, cutoff in CUTOFFS.items():
        with tempfile.TemporaryDirectory() as name:
            RTLModel(logic, "peer", name, latency_cutoff=cutoff).write()
            files = " ".join(str(file.relative_to(name)) for file in
                             sorted(Path(name, "src").rglob("*.v")))
            yosys([f"read_verilog -defer {files}", "hierarchy -top peer",
                   "synth_ecp5 -top peer -nodsp -noflatten", "flatten",
                   "write_json peer.json"], Path(name))
            usage = synthesized(Family.ECP5, count(json.loads(
                Path(name, "peer.json").read_text()), "peer"))
        found[form] = {"lut4": usage.lut4, "ff": usage.ff}
    return found


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="cases whose names contain one of these words")
    words = parser.parse_args().only.replace(",", " ").split()
    if importlib.util.find_spec("da4ml") is None:
        sys.exit("da4ml is not installed: pip install --group peers")
    for name in PEERS:
        path = shared() / "bench" / "cases" / f"{name}.npz"
        if words and not any(word in name for word in words):
            continue
        if not path.is_file():
            say(f"skipped {name}: {path} is not there")
            continue
        with np.load(path, allow_pickle=False) as z:
            if str(z["kind"]) == "cnn":
                say(f"skipped {name}: only dense layers are given to da4ml here")
                continue
        found = run(path)
        print(f"{name:12} {found}", flush=True)
        save("hardened", {"da4ml": load("hardened").get("da4ml", {}) | {name: found}})


if __name__ == "__main__":
    main()
