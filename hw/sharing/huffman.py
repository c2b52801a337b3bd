"""Huffman-coded streams of weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import Out

from bittern.hw.ints import Ints
from bittern.hw.pipeline import Stages

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["Huffman", "HuffmanStream"]

LIMIT = 12
"""Bits of the longest code: a decoder looks at as many in one cycle."""


@dataclass(frozen=True)
class Huffman:
    """A canonical prefix code: among codes of one length, and from length to length, they ascend.

    Source: D. A. Huffman, "A method for the construction of minimum-redundancy codes" (1952);
    lengths are limited by the package-merge algorithm (L. L. Larmore and D. S. Hirschberg, 1990).
    Weights are coded thus in Deep Compression (S. Han et al., arXiv:1510.00149).

    Parameters
    ----------
    lengths : tuple[int, ...]
        Bits of the code of each symbol, 0 for symbols that do not occur.
    """

    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        used = [n for n in self.lengths if n]
        if not used or min(self.lengths) < 0 or max(used) > LIMIT:
            raise ValueError(f"lengths must be in 0..{LIMIT} and not all 0, not {self.lengths}")
        if sum(1 << LIMIT - n for n in used) > 1 << LIMIT:
            raise ValueError(f"lengths are too short for a prefix code: {self.lengths}")

    @classmethod
    def of(cls, symbols: Ints, *, limit: int = LIMIT) -> Self:
        """Return the code of at most `limit` bits that writes `symbols` in the fewest bits."""
        counts = np.bincount(symbols)
        used = np.flatnonzero(counts).tolist()
        if not (len(used) - 1).bit_length() <= limit <= LIMIT or limit < 1:
            least = max((len(used) - 1).bit_length(), 1)
            raise ValueError(f"limit must be in {least}..{LIMIT} for {len(used)} symbols, "
                             f"not {limit}")
        lengths = [0] * len(counts)
        if len(used) == 1:
            lengths[used[0]] = 1
            return cls(tuple(lengths))
        leaves: list[tuple[int, tuple[int, ...]]] = sorted((int(counts[s]), (s,)) for s in used)
        coins = leaves
        for _ in range(limit - 1):
            packages = [(a[0] + b[0], a[1] + b[1])
                        for a, b in zip(coins[::2], coins[1::2], strict=False)]
            coins = sorted(leaves + packages)
        for _, coin in coins[:2 * len(used) - 2]:
            for s in coin:
                lengths[s] += 1
        return cls(tuple(lengths))

    @property
    def limit(self) -> int:
        """Bits of the longest code."""
        return max(self.lengths)

    @property
    def order(self) -> list[int]:
        """Symbols in the order of their codes."""
        return sorted((s for s, n in enumerate(self.lengths) if n),
                      key=lambda s: (self.lengths[s], s))

    @cached_property
    def codes(self) -> dict[int, int]:
        """The code of each symbol that has one, its first bit highest."""
        codes, code, length = {}, 0, 0
        for s in self.order:
            code <<= self.lengths[s] - length
            length = self.lengths[s]
            codes[s] = code
            code += 1
        return codes

    def encode(self, symbols: Ints) -> list[int]:
        """Return the bits that `symbols` are written in."""
        bits: list[int] = []
        for s in symbols.tolist():
            if s not in self.codes:
                raise ValueError(f"the code has no symbol {s}")
            bits += [self.codes[s] >> k & 1 for k in reversed(range(self.lengths[s]))]
        return bits

    def decode(self, bits: list[int], count: int) -> Ints:
        """Return the first `count` symbols of `bits`."""
        symbols = {(self.lengths[s], code): s for s, code in self.codes.items()}
        found, at = [], 0
        for _ in range(count):
            length, code = 1, bits[at]
            while (length, code) not in symbols:
                code = code << 1 | bits[at + length]
                length += 1
            found.append(symbols[length, code])
            at += length
        return np.array(found)


class HuffmanStream(wiring.Component):
    """Decoder of a frame of symbols that is repeated: one a cycle, as long as ``o`` takes them.

    The bits are in a memory of words. Two words of them are in registers, and an offset: from where
    it points the next code is taken and its length added, all in one cycle. At the end of a frame
    the offset returns to that of its first code, so that frames follow without a gap. The first
    symbol comes after :attr:`latency` cycles. Registers stop when ``o`` stalls.

    Source: Deep Compression (S. Han et al., arXiv:1510.00149) for the use; decoding of canonical
    codes by their length, as in D. S. Hirschberg and D. A. Lelewer, "Efficient decoding of prefix
    codes" (1990).

    Parameters
    ----------
    symbols : array ``(count,)``
        The frame.
    spec : Huffman
        Has a code for each of `symbols`.
    word : int or None
        Bits of a word of the memory: a power of two, at least the longest code. None is the
        smallest that is, from 8 on.
    block : bool
        Whether the memory shall be in block RAM or in LUTs.

    Members
    -------
    o : ``Out(stream.Signature(unsigned(n)))``
        With n bits for the highest symbol.
    """

    o: stream.Interface

    latency = 7

    def __init__(self, symbols: Ints, spec: Huffman, *, word: int | None = None,
                 block: bool = True) -> None:
        if not len(symbols):
            raise ValueError("symbols must be at least 1, not 0")
        word = word or 1 << max((spec.limit - 1).bit_length(), 3)
        if word < max(spec.limit, 2) or word & word - 1:
            raise ValueError(f"word must be a power of two of at least {max(spec.limit, 2)}, "
                             f"not {word}")
        self.spec, self.word, self.block = spec, word, block
        self.count = len(symbols)
        bits = spec.encode(symbols)
        # where a frame starts, so that its last code is in one word
        end = spec.lengths[symbols[-1]]
        self.start = next(s for s in range(word) if (s + len(bits) - end) % word + end <= word)
        padded = [0] * self.start + bits
        self.words = [sum(b << k for k, b in enumerate(padded[at:at + word]))
                      for at in range(0, len(padded), word)]
        self.element = unsigned(max((len(spec.lengths) - 1).bit_length(), 1))
        super().__init__({"o": Out(stream.Signature(self.element))})

    @property
    def bits(self) -> int:
        """Bits of the memory."""
        return len(self.words) * self.word

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step, advance = Signal(), Signal()
        current, following, filled = self._words(m, advance)
        offset = Signal(range(self.word), init=self.start)
        last = self._last(m, step)
        window = _shifted(Cat(current, following), offset, self.spec.limit)
        length = self._length(window)
        end = Signal(range(2 * self.word))
        m.d.comb += [step.eq(filled & (~self.o.valid | self.o.ready)), end.eq(offset + length),
                     advance.eq(~filled | step & (end[-1] | last))]
        with m.If(step):
            m.d.sync += offset.eq(Mux(last, self.start, end))
        stages = Stages(m, step)
        m.d.comb += self.o.payload.eq(self._symbol(stages, window, length))
        valid: Value = Const(1)
        for level in range(stages.latency):
            valid_q = Signal(name=f"valid_{level}")
            with m.If(step):
                m.d.sync += valid_q.eq(valid)
            valid = valid_q
        m.d.comb += self.o.valid.eq(valid)
        return m

    def _words(self, m: Module, advance: Value) -> tuple[Value, Value, Value]:
        """Return the word that is read, that behind it, and whether they are there."""
        m.submodules.words = store = memory.Memory( # type: ignore[var-annotated]
            shape=unsigned(self.word), depth=len(self.words), init=self.words,
            attrs={"rom_style": "block" if self.block else "logic"})
        port, at = store.read_port(), Signal(range(len(self.words)), name="at")
        current, following = (Signal(self.word, name=n, reset_less=True)
                              for n in ("current", "following"))
        filled = Signal(3)
        m.d.comb += [port.addr.eq(at), port.en.eq(advance)]
        m.d.sync += filled.eq(Cat(1, filled))
        with m.If(advance):
            m.d.sync += [at.eq(Mux(at == len(self.words) - 1, 0, at + 1)),
                         following.eq(port.data), current.eq(following)]
        return current, following, filled[-1]

    def _last(self, m: Module, step: Value) -> Value:
        """Return whether the code that is read is the last one of the frame."""
        if self.count == 1:
            return Const(1)
        left, last = Signal(range(self.count), init=self.count - 1), Signal()
        with m.If(step):
            m.d.sync += [left.eq(Mux(last, self.count - 1, left - 1)), last.eq(left == 1)]
        return last

    def _length(self, window: Value) -> Value:
        """Return the length of the code that `window` begins with."""
        limit = self.spec.limit
        # the codes, as they stand in a window, up to which a length reaches
        tops: dict[int, int] = {}
        for s in self.spec.order:
            n = self.spec.lengths[s]
            tops[n] = self.spec.codes[s] + 1 << limit - n
        longest = max(tops)

        def lengths(first: int, depth: int) -> Value:
            """Take the length by the bits from `depth` on, of the windows from `first` on."""
            size = 1 << limit - depth
            for n, (low, high) in zip(tops, pairwise([0, *tops.values()]), strict=True):
                if low <= first and (first + size <= high or n == longest):
                    return Const(n, limit.bit_length())
            below, above = lengths(first, depth + 1), lengths(first + size // 2, depth + 1)
            return Mux(window[depth], above, below)

        return lengths(0, 0)

    def _symbol(self, stages: Stages, window: Value, length: Value) -> Value:
        """Return the symbol: its place among those of its length, and where these begin."""
        limit, order = self.spec.limit, self.spec.order
        unused = (limit - length)[:limit.bit_length()] # bits of the window
        window, unused = stages.stage([window, unused], "code")
        places = range(len(order))
        width = max((len(order) - 1).bit_length(), 1)
        begin: Value = Const(0, width)
        for k in reversed(places):
            n = self.spec.lengths[order[k]]
            if not k or n != self.spec.lengths[order[k - 1]]:
                first = Const((k - self.spec.codes[order[k]]) % (1 << width), width)
                begin = Mux(unused == limit - n, first, begin)
        code = Cat(reversed(window), Const(0, width))
        place = _shifted(code, unused, width)
        place, begin = stages.stage([place, begin], "place")
        place, = stages.stage([(place + begin)[:width]], "number")
        if order == list(places): # numbered by how often they occur
            return stages.stage([place[:self.element.width]], "symbol")[0]
        padded = [*order, *[0] * ((1 << width) - len(order))]
        symbols: memory.Memory = memory.Memory(
            shape=self.element, depth=len(padded), init=padded,
            attrs={"rom_style": "block" if self.block and len(padded) > 64 else "logic"})
        stages.m.submodules.symbols = symbols
        port = symbols.read_port()
        stages.m.d.comb += [port.addr.eq(place), port.en.eq(stages.enable)]
        stages.latency += 1
        found: Value = port.data
        return found


def _shifted(value: Value, by: Value, width: int) -> Value:
    """Return `width` bits of `value` from bit `by` on."""
    for k in reversed(range(len(by))):
        value = Mux(by[k], value[1 << k:], value)[:width - 1 + (1 << k)]
    return value
