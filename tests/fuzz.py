"""Compare random networks with their reference runtimes.

    python tests/fuzz.py [tflite|onnx|qonnx ...] [--count N] [--seed S]

Each seed is a small network of random operators, shapes, strides, groups, paddings, scales and zero
points, and some frames. What the importer refuses is counted apart: it says so in one line.
Exit code 1 if any network differs.
"""

import argparse
import sys
from collections import Counter

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("importers", nargs="*", metavar="IMPORTER",
                        help=f"of {', '.join(IMPORTERS)}; without any: all")
    parser.add_argument("--count", type=int, default=500, help="networks of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    arguments = parser.parse_args()
    differ = 0
    for name in arguments.importers or IMPORTERS:
        outcomes = Counter()
        seeds = range(arguments.seed, arguments.seed + arguments.count)
        for seed in track(seeds, name):
            outcome = IMPORTERS[name](seed)
            kind = outcome.split(":")[0]
            outcomes[kind if kind in ("equal", "refused") else "differ"] += 1
            if outcome != "equal":
                print(f"{name}, seed {seed}: {outcome}", file=sys.stderr)
        print(f"{name}: {', '.join(f'{count} {kind}' for kind, count in outcomes.items())}")
        differ += outcomes["differ"]
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
