"""Weights that share values: hashed, and written with as many bits as they are worth."""

from __future__ import annotations

from bittern.hw.sharing.hashed import Hashed, HashedStream
from bittern.hw.sharing.huffman import Huffman, HuffmanStream

__all__ = ["Hashed", "HashedStream", "Huffman", "HuffmanStream"]
