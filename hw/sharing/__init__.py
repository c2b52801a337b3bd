"""Weights that share values: factorised, hashed, and written with as few bits as they need."""

from __future__ import annotations

from bittern.hw.sharing.factorised import FactorisedMatrixVectorUnit, Grouped
from bittern.hw.sharing.hashed import Hashed, HashedStream
from bittern.hw.sharing.huffman import Huffman, HuffmanStream

__all__ = ["FactorisedMatrixVectorUnit", "Grouped", "Hashed", "HashedStream", "Huffman",
           "HuffmanStream"]
