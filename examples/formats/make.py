"""Train networks whose weights fall into each of the formats that Bittern finds, as QONNX.

    python examples/formats/make.py               # all of them, beside this script
    python examples/formats/make.py ternary pruned

The network and the data are those of examples/digits, with one hidden layer. Weights are integers
of 8 bits or fewer, projected in the forward pass onto what the format holds. Nothing in the files
tells which format that is.

Needs scikit-learn for the data (``pip install 'bittern[train]'``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "digits"))

from train import SHAPE, Config, Floats, Net, accuracy, export, run, split, train  # noqa: E402

TOP = 127
CODEBOOK = np.array([s * v for v in (0, 5, 11, 23, 37, 53, 77, 107) for s in (1, -1)])
POWERS = np.array([0, *(s << k for k in range(7) for s in (1, -1))])


def nearest(values: NDArray[np.int64]) -> Callable[[Floats], Floats]:
    """Return a projection onto the nearest of `values`."""
    ordered = np.sort(values)
    edges = (ordered[1:] + ordered[:-1]) / 2
    return lambda w: ordered[np.searchsorted(edges, w)].astype(np.float32)


def two_powers(w: Floats) -> Floats:
    """Round to a sum of two signed powers of two: the nearest, and the nearest to what is left."""
    first = nearest(POWERS)(w)
    return np.clip(first + nearest(POWERS)(w - first), -TOP, TOP)


def keep(share: float, side: int) -> Callable[[Floats], Floats]:
    """Return a projection that zeros all but a share of square blocks, always the same.

    Were they chosen by their size, all that are left would grow to the largest weight there is.
    """
    def project(w: Floats) -> Floats:
        blocks = [-(-n // side) for n in w.shape]
        order = np.random.default_rng(blocks).permutation(blocks[0] * blocks[1]).reshape(blocks)
        kept = np.kron(order < share * order.size, np.ones((side, side)))
        return np.rint(w) * kept[:w.shape[0], :w.shape[1]].astype(np.float32)
    return project


def two_of_four(w: Floats) -> Floats:
    """Keep the two largest of each four inputs."""
    inputs, outputs = w.shape
    groups = w.reshape(inputs // 4, 4, outputs)
    rank = np.abs(groups).argsort(axis=1).argsort(axis=1)
    return (np.rint(groups) * (rank >= 2)).reshape(w.shape)


KINDS: dict[str, Callable[[Floats], Floats]] = {
    "binary": lambda w: np.where(w < 0, -64, 64).astype(np.float32),
    "ternary": nearest(np.array([-64, 0, 64])),
    "two_scales": nearest(np.array([-45, 0, 91])),
    "powers": nearest(POWERS),
    "two_powers": two_powers,
    "codebook": nearest(CODEBOOK),
    "pruned": keep(0.1, 1),
    "pruned_blocks": keep(0.2, 4),
    "two_of_four": two_of_four,
    "integers": np.rint,
}


@dataclass(frozen=True)
class Small(Config):
    """One hidden layer; weights of 8 bits."""

    sizes: tuple[int, ...] = (64, 128, 10)
    weight_bits: int = 8
    weight_scales: tuple[float, ...] = (2.0**-7, 2.0**-6)
    epochs: int = 100
    seed: int = 1


class Projected(Net):
    """A network in training whose weights are projected."""

    def __init__(self, config: Config, project: Callable[[Floats], Floats]):
        super().__init__(config)
        self.project = project

    def quantized_weight(self, i: int) -> Floats:
        """Return the weights of layer `i` as they are stored; what is stored stays as it is."""
        scale = np.float32(self.config.weight_scales[i - 1])
        units = np.clip(self.params[f"fc{i}.weight"] / scale, -TOP, TOP)
        return self.project(units).astype(np.float32) * scale


def main() -> None:
    """Train, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], metavar="KIND", default=[],
                        help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="DIR")
    arguments = parser.parse_args()

    from sklearn.datasets import load_digits  # noqa: PLC0415

    data = load_digits()
    x, labels = data.images.astype(np.float32).reshape(-1, *SHAPE[1:]), data.target.astype(np.int64)
    t, v, held_out = split(labels)
    flat = x.reshape(len(x), -1)
    for kind in arguments.kinds or KINDS:
        net, _ = train(Projected(Small(), KINDS[kind]), flat[t], labels[t], flat[v], labels[v])
        for i in net.config.layers:
            net.params[f"fc{i}.weight"] = net.quantized_weight(i)
        model = export(net)
        model.graph.name = kind
        onnx.save(model, arguments.output / f"{kind}.onnx")
        right = accuracy(run(model, x[held_out]), labels[held_out])
        print(f"{kind}: {right:.2%} of {len(held_out)} held-out images", flush=True)


if __name__ == "__main__":
    main()
