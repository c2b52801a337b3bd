"""QONNX: ONNX with the operators Quant, BipolarQuant and Trunc.

The reference is the QONNX executor, which computes in float32, one frame at a time. Here the
nodes of the file are interpreted symbolically, in order. A value is one of

* a constant, computed now; weights that come out of a quantizer remember their integers;
* a value of the host: it depends on the input, and no quantizer came yet. The operators are
  recorded, and `Network.encode` executes them in the reference's arithmetic;
* a stream: integers on an edge of the graph, and the function that takes them to the reference's
  floats. Element-wise operators extend the function; a quantizer turns it into thresholds, exactly,
  because a non-decreasing function of integers in a finite range *is* its thresholds.

Maps are channels first in the file and channels last on edges. A stream knows where each of its
elements is on its edge, so that operators which only move elements change nothing but that, and the
next layer takes its weights, or the host the input, in the order of the edge.

``arithmetic`` is the reference's arithmetic, ``values`` are the values, ``layout`` is that of maps,
``graph`` what becomes of streams; ``interpreter``, ``maps`` and ``shapes`` have one rule for each
operator.

Where scales are powers of two, the floats equal the executor's bit for bit as long as its sums
stay below 2**24 steps. With other scales, and in Gemm with a bias that is not quantized, its sums
round at every step and ours once: floats may differ in their last bits, integers only where such
a bit decides a tie of the reference. The same holds for Gemm, Conv and averages before the first
quantizer.

Source: https://github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.gen.importers.onnx_file import parse, recognizes
from bittern.gen.importers.qonnx.interpreter import Interpreter

if TYPE_CHECKING:
    from bittern.gen.network import Network

__all__ = ["SUFFIXES", "read", "recognizes"]

SUFFIXES: tuple[str, ...] = (".onnx",)


def read(data: bytes, name: str) -> Network:
    """Import the content of an ONNX file.

    Raises
    ------
    ValueError
        If `data` is not a whole ONNX file with one quantized network of supported operators.
        Nodes that are not supported are all listed, one a line.
    """
    return Interpreter(parse(data, name)).network()
