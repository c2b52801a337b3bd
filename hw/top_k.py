"""The greatest elements of a frame, in order."""

from __future__ import annotations

from amaranth import Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.comparison import below

__all__ = ["TopK"]


class TopK(wiring.Component):
    """The `k` greatest elements of each frame and their numbers, the greatest first.

    Of equal elements the earlier one comes first. An element a cycle; a frame of results in one
    transfer, latency 1 from its last element. ``ready`` passes combinationally from ``o`` to ``i``.

    Each register holds what was the k-th greatest so far: an element is compared with all of them
    at once, and those below it move down by one (insertion sort in a systolic row).

    Parameters
    ----------
    element : Shape
    features : int
        Elements of a frame, at least 2.
    k : int
        Of 1..features.

    Members
    -------
    i : ``In(stream.Signature(element))``
    o : ``Out(stream.Signature(…))``
        Of a struct: ``values`` and ``at``, arrays of `k`.
    """

    i: stream.Interface
    o: stream.Interface

    latency = 1

    def __init__(self, element: Shape, features: int, k: int) -> None:
        if features < 2:
            raise ValueError(f"features must be at least 2, not {features}")
        if not 1 <= k <= features:
            raise ValueError(f"k must be in 1..{features}, not {k}")
        self.element, self.features, self.k = element, features, k
        at = unsigned((features - 1).bit_length())
        super().__init__({"i": In(stream.Signature(element)), "o": Out(stream.Signature(
            data.StructLayout({"values": data.ArrayLayout(element, k),
                               "at": data.ArrayLayout(at, k)})))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = ~self.o.valid | self.o.ready
        x, count = self.i.payload, Signal(range(self.features))
        last = count == self.features - 1
        values = [Signal(self.element, name=f"value_{k}", reset_less=True) for k in range(self.k)]
        at = [Signal(range(self.features), name=f"at_{k}", reset_less=True) for k in range(self.k)]
        # from register k on there is nothing yet, or something less
        above = [Signal(name=f"above_{k}") for k in range(self.k)]
        m.d.comb += [self.i.ready.eq(step)]
        for k in range(self.k):
            m.d.comb += [above[k].eq((count <= k) | below(values[k], x)),
                         self.o.payload.values[k].eq(values[k]), self.o.payload.at[k].eq(at[k])]
        with m.If(step):
            m.d.sync += self.o.valid.eq(self.i.valid & last)
            with m.If(self.i.valid):
                m.d.sync += count.eq(Mux(last, 0, count + 1))
                for k in range(self.k):
                    before = above[k - 1] if k else 0
                    with m.If(above[k]):
                        m.d.sync += [values[k].eq(Mux(before, values[k - 1], x) if k else x),
                                     at[k].eq(Mux(before, at[k - 1], count) if k else count)]
        return m
