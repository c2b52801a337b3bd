"""Products of several narrow weights and one activation in one multiplier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.ints import shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import bounds_of, check_factors, product_shape
from bittern.hw.rows import Row, add_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["PackedProduct", "Packing"]


@dataclass(frozen=True)
class Packing:
    """How products ``w_k * x`` share a multiplier: ``(sum(w_k << k * spacing)) * x``.

    Where the word of all weights has room, a product has as many bits as it needs, and the sign
    of one is a borrow from the next. Where it has not, the upper bits of a product overlap the
    lower ones of the next: those are then computed once more, by adders, and taken off.

    Parameters
    ----------
    count : int
        Weights of a word, at least 2.
    weight, x : tuple[int, int]
        Bounds of a weight and of the activation.
    port : int
        Bits of the signed factors that the multiplier takes.
    """

    count: int
    weight: tuple[int, int]
    x: tuple[int, int]
    port: int = 18

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"count must be at least 2, not {self.count}")
        x = shape_of(*self.x)
        if (bits := x.width + (not x.signed)) > self.port:
            raise ValueError(f"x must have up to {self.port} bits with its sign, not {bits}")
        if self.spacing < 1 or self.overlap > self.spacing:
            raise ValueError(f"count must be such that weights of {self.weight} fit into "
                             f"{self.port} bits for x in {self.x}, not {self.count}")

    @property
    def product(self) -> Shape:
        """Shape of one product."""
        ends = [w * x for w in self.weight for x in self.x]
        return shape_of(min(ends), max(ends))

    @property
    def spacing(self) -> int:
        """Bits from one product to the next; 0 if no spacing fits."""
        spacing = self.product.width
        limit = 1 << self.port - 1
        while spacing:
            most = sum(1 << k * spacing for k in range(self.count))
            if -limit <= self.weight[0] * most and self.weight[1] * most < limit:
                break
            spacing -= 1
        return spacing

    @property
    def overlap(self) -> int:
        """Upper bits of a product that overlap the next one."""
        return self.product.width - self.spacing

    @property
    def word(self) -> Shape:
        """Shape of all weights as one factor."""
        most = sum(1 << k * self.spacing for k in range(self.count))
        return shape_of(self.weight[0] * most, self.weight[1] * most)

    def pack(self, *weights: int) -> int:
        """Return the word of `weights`; :exc:`ValueError` names one that is out of bounds."""
        if len(weights) != self.count:
            raise ValueError(f"weights must be {self.count}, not {len(weights)}")
        for k, w in enumerate(weights):
            if not self.weight[0] <= w <= self.weight[1]:
                raise ValueError(f"weight {k} must be in {self.weight[0]}..{self.weight[1]}, "
                                 f"not {w}")
        return sum(w << k * self.spacing for k, w in enumerate(weights))

    def low(self, stages: Stages, weight: Value, x: Value, name: str, *,
            carry: Value | None = None, registers: bool = False) -> Value:
        """Return the bits of ``(weight + carry) * x`` that the product below it overlaps."""
        bits = self.overlap
        weight, x = (_resize(factor, unsigned(bits)) for factor in (weight, x))
        # adders, as of a multiplication synthesis may make another multiplier
        rows = [Row(j, Cat(x[i] & weight[j] for i in range(bits - j)), (1 << bits - j) - 1)
                for j in range(bits)]
        if carry is not None:
            rows.insert(0, Row(0, x & carry.replicate(bits), (1 << bits) - 1))
        total, _ = add_rows(stages, rows, bits, name, registers=registers)
        return total

    def unpack(self, stages: Stages, product: Value, lows: Sequence[Value], *,
               registers: bool) -> list[Value]:
        """Return the products from that of the word and `x`.

        `lows` are the bits of all but the first product that overlap. With `registers` there are
        two registers behind each product but the last.
        """
        signs = self.product.signed
        rest, lows = product, list(lows)
        done: list[Value] = []
        for k in range(self.count - 1):
            field, rest = rest[:self.spacing], rest >> self.spacing
            if self.overlap:
                upper = (rest - lows.pop(0))[:self.overlap]
                upper = stages.fence(upper.as_signed() if signs else upper, f"upper_{k}")
            else:
                upper = -field[-1:] if signs else Const(0, 0)
            if registers:
                field, rest, upper, *others = stages.stage(
                    [field, rest, upper, *lows, *done], f"upper_{k}")
                lows, done = others[:len(lows)], others[len(lows):]
            wide = Cat(field, upper[:self.overlap])
            done.append(wide.as_signed() if signs else wide)
            rest = stages.fence((rest - upper)[:len(rest)], f"rest_{k}") if signs or self.overlap \
                else rest
            rest = rest.as_signed() if signs else rest.as_unsigned()
            if registers:
                rest, *others = stages.stage([rest, *lows, *done], f"product_{k}")
                lows, done = others[:len(lows)], others[len(lows):]
        last = rest[:self.product.width]
        return [*done, last.as_signed() if signs else last]


@dataclass(frozen=True)
class PackedProduct(Operator):
    """``o_k = i_k * x`` for several weights and one activation, by one multiplier of the device.

    Combinational, or with registers behind the packing, two behind the multiplier, and two behind
    each product but the last; a set of products a cycle. Each product is exact, for all integers of
    the shapes. Inputs are the weights, the lowest first, and then `x`.

    Source: for products that do not overlap, Y. Fu et al., "Deep Learning with INT8 Optimization on
    Xilinx Devices", 2017 (WP486).

    Parameters
    ----------
    count : int
        Weights, at least 2.
    weight, x : Shape
        Of a weight, and of the activation.
    port : int
        Bits of the signed factors that the multiplier takes: 18 on ECP5 and Gowin, 16 on iCE40.
    registers : bool
    """

    count: int
    weight: Shape
    x: Shape
    port: int = 18
    registers: bool = False

    def __post_init__(self) -> None:
        check_factors(weight=self.weight, x=self.x)
        if not 4 <= self.port <= 18:
            raise ValueError(f"port must be in 4..18, not {self.port}")
        self.packing # noqa: B018 (raises)

    @property
    def packing(self) -> Packing:
        """How the products share the multiplier."""
        return Packing(self.count, bounds_of(self.weight), bounds_of(self.x), self.port)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return *(self.weight,) * self.count, self.x

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (product_shape(self.weight, self.x),) * self.count

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        *weights, x = operands
        return tuple(w * x for w in weights)

    def naive(self, *operands: Value) -> Sequence[Value]:
        *weights, x = operands
        return [w * x for w in weights]

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        *weights, x = operands
        packing = self.packing
        word: Value = weights[0]
        for k, w in enumerate(weights[1:], 1):
            at = k * packing.spacing
            extended = word if word.shape().signed else Cat(word, Const(0, 1)).as_signed()
            above = stages.fence((extended >> at) + w, f"word_{k}") # w alone, or 1 less
            wide = Cat(word, (word[-1] if word.shape().signed else Const(0, 1)).replicate(at))
            word = Cat(wide[:at], above)[:packing.word.width]
            word = word.as_signed() if packing.word.signed else word
        parts = [_resize(w, unsigned(packing.overlap)) for w in weights[1:] if packing.overlap]
        if self.registers:
            word, x, *parts = stages.stage([word, x, *parts], "word")
        lows = [packing.low(stages, w, x, f"low_{k}") for k, w in enumerate(parts)]
        product = word * x
        if self.registers:
            product, *lows = stages.stage([product, *lows], "product")
            # multipliers stand far apart: to go takes another cycle
            product, *lows = stages.stage([product, *lows], "far")
        results = packing.unpack(stages, product, lows, registers=self.registers)
        shape = self.outputs[0]
        return [_resize(r, shape) for r in results]

    def lut4(self, family: Family) -> float:
        packing = self.packing
        v, n = packing.overlap, self.count
        pack = (n - 1) * (self.weight.width + 1) if self.weight.signed else 0
        low = (n - 1) * v * (v + 1) / 2
        correct = sum((n - k) * packing.spacing + v for k in range(1, n)) if (
            packing.product.signed or v) else 0
        return 1.25 * (pack + low + correct)

    def bound(self, family: Family) -> tuple[float, str]:
        return 0, "wires and one multiplier may do"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(2, signed(4), unsigned(4)), cls(2, unsigned(4), unsigned(4)),
                cls(3, signed(4), unsigned(3)), cls(4, signed(2), unsigned(3)),
                cls(2, signed(5), unsigned(8)), cls(2, signed(4), signed(8), registers=True),
                cls(2, signed(4), unsigned(4), port=10), cls(2, signed(4), signed(4), port=9),
                cls(2, unsigned(4), signed(5), port=10), cls(2, unsigned(4), unsigned(5), port=10),
                cls(2, signed(4), signed(4), port=10, registers=True),
                cls(3, signed(2), signed(4), port=9), cls(2, signed(1), unsigned(1)),
                cls(2, signed(8), signed(9)), cls(2, signed(8), unsigned(8), registers=True)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(2, signed(8), signed(9), registers=True),
                cls(2, signed(8), unsigned(8), registers=True),
                cls(2, signed(5), unsigned(8), registers=True),
                cls(3, signed(4), unsigned(3), registers=True),
                cls(4, signed(2), unsigned(3), registers=True)]


def _resize(value: Value, shape: Shape) -> Value:
    """Return the low bits of `value`, or more of its sign, as `shape`."""
    sign = value[-1] if value.shape().signed else Const(0, 1)
    wide = Cat(value, sign.replicate(shape.width))[:shape.width]
    return wide.as_signed() if shape.signed else wide
