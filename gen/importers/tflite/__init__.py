"""TFLite: quantized networks of TensorFlow Lite, int8 or int16.

The reference is LiteRT with its built-in reference kernels (``OpResolverType.BUILTIN_REF``), which
compute in integers. A tensor of the file becomes an edge of its stored integers; zero points are in
the biases, and fill what windows see beyond a map. What an operator does to its sums is the
reference's own arithmetic in NumPy (``arithmetic``), of which the thresholds are taken.

``file`` reads, ``graph`` has the values and the graph under construction, ``weighted``,
``windows``, ``elementwise`` and ``shapes`` one rule for each operator, ``interpreter`` runs them.

Source: https://github.com/google-ai-edge/LiteRT, tflite/kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.gen.importers.tflite.file import parse, recognizes
from bittern.gen.importers.tflite.interpreter import Interpreter

if TYPE_CHECKING:
    from bittern.gen.network import Network

__all__ = ["SUFFIXES", "read", "recognizes"]

SUFFIXES: tuple[str, ...] = (".tflite",)


def read(data: bytes, name: str) -> Network:
    """Import the content of a TFLite file.

    Raises
    ------
    ValueError
        If `data` is not a whole TFLite file with one quantized network of supported operators.
        Operators that are not supported are all listed, one a line.
    """
    return Interpreter(parse(data, name)).network()
