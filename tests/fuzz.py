"""Compare random networks with their reference runtimes, and damage the files of some.

    python tests/fuzz.py [tflite|onnx|qonnx ...] [--count N] [--damaged N] [--hardware N] [--seed S]

Each seed is a small network of random operators, shapes, strides, groups, paddings, scales and zero
points, and some frames. What the importer refuses is counted apart: it says so in one line. Then
files of such networks are cut, or bytes and fields of them changed: each must be refused in clean
lines or be what its runtime takes it for, within limits of time and memory (see ``damaged``). Of
the smallest, the Verilog is simulated: every bit and every cycle (see ``hardware_networks``).
Exit code 1 if any network differs, or anything else happens.
"""

import argparse
import itertools
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

import damaged
import hardware_networks
import onnx_networks
import qonnx_networks
import tflite_networks
from rich.progress import track


def compare_onnx(seed):
    """Return "equal", why a random network is refused, or how it differs from ONNX Runtime."""
    try:
        outcome = onnx_networks.compare(seed)
    except AssertionError as error:
        return f"differs: {error}"
    return outcome if outcome == "equal" else f"refused: {outcome}"


IMPORTERS = {"tflite": tflite_networks.compare, "onnx": compare_onnx,
             "qonnx": qonnx_networks.compare}
"""Functions of a seed that return ``"equal"``, or what else is to be told."""


BATCH = 5
"""Networks that share a simulation."""


def tell(what, seeds, outcomes, *, quiet=()):
    """Print outcomes by their kinds, and all but those equal or `quiet`; return the faults."""
    kinds = Counter()
    for seed, outcome in zip(track(seeds, what, auto_refresh=False), outcomes, strict=True):
        kind = outcome.split(":")[0]
        kind = kind if kind in ("equal", "refused", "alone") else "at fault"
        kinds[kind] += 1
        if kind not in ("equal", *quiet):
            print(f"{what}, seed {seed}: {outcome}", file=sys.stderr)
    print(f"{what}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    return kinds["at fault"]


def tell_hardware(name, count, seed):
    """Simulate the Verilog of networks, a few in each design; return how many are at fault."""
    faults = 0
    cases = islice(hardware_networks.cases(name, itertools.count(seed)), count)
    for batch in track(range(0, count, BATCH), f"{name}, in hardware", auto_refresh=False):
        together = [*islice(cases, min(BATCH, count - batch))]
        with tempfile.TemporaryDirectory() as folder:
            for case, differs in zip(together, hardware_networks.Simulation(
                    together, Path(folder)).differences(together[0].seed), strict=True):
                if differs:
                    faults += 1
                    print(f"{case} in hardware: {differs}", file=sys.stderr)
    print(f"{name}, in hardware: {count - faults} equal, {faults} at fault")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("importers", nargs="*", metavar="IMPORTER",
                        help=f"of {', '.join(IMPORTERS)}; without any: all")
    parser.add_argument("--count", type=int, default=500, help="networks of each")
    parser.add_argument("--damaged", type=int, default=10_000, help="damaged files of each")
    parser.add_argument("--hardware", type=int, default=40, help="networks of each in Verilator")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    arguments = parser.parse_args()
    faults = 0
    for name in arguments.importers or IMPORTERS:
        if arguments.count:
            seeds = range(arguments.seed, arguments.seed + arguments.count)
            faults += tell(name, seeds, map(IMPORTERS[name], seeds))
        if arguments.damaged:
            seeds = range(arguments.seed, arguments.seed + arguments.damaged)
            faults += tell(f"{name}, damaged", seeds, damaged.outcomes(name, seeds),
                           quiet=("refused", "alone"))
        if arguments.hardware:
            faults += tell_hardware(name, arguments.hardware, arguments.seed)
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
