# amaranth: UnusedElaboratable=no
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from bittern.boards.synthesis import netlist, synthesize
from bittern.boards.usage import synthesized
from bittern.gen.rtlil import to_rtlil
from bittern.hw.adder_tree import Lemma, Tree
from bittern.hw.family import Family
from bittern.hw.operators.binary_dot import BinaryDot
from bittern.hw.operators.bit_planes import BitPlanes, Planes
from bittern.hw.operators.operator import Function
from bittern.hw.operators.popcount import Popcount
from bittern.hw.operators.vote import Vote
from bittern.hw.term import Term
from bittern.sim.logic import Logic

SEED = 1
HALF = 0x5A96_C3F0_1E2D_4B87


class Several(wiring.Component):
    """Components on the lowest of common inputs: one netlist of all."""

    def __init__(self, components):
        self.components = components
        shapes = [[m.shape for name, m in c.signature.members.items() if name.startswith("i")]
                  for c in components]
        self.shapes = [unsigned(max(Shape.cast(s[k]).width for s in shapes if len(s) > k))
                       for k in range(max(map(len, shapes)))]
        super().__init__({
            **{f"i{k}": In(shape) for k, shape in enumerate(self.shapes)},
            **{f"o{n}_{name[1:]}": m for n, c in enumerate(components)
               for name, m in c.signature.members.items() if name.startswith("o")}})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for n, c in enumerate(self.components):
            m.submodules[f"component_{n}"] = c
            for name in c.signature.members:
                if name.startswith("i"):
                    m.d.comb += getattr(c, name).eq(getattr(self, name))
                else:
                    m.d.comb += getattr(self, f"o{n}_{name[1:]}").eq(getattr(c, name))
        return m


def evaluate(components, cases=4096):
    """Return operands and the results of each component."""
    top = Several(components)
    rng = np.random.default_rng(SEED)
    operands = [np.concatenate([[0, (1 << s.width) - 1], rng.integers(0, 1 << s.width, cases)])
                for s in top.shapes]
    members = {name: m for name, m in top.signature.members.items() if name.startswith("o")}
    found = Logic.of_rtlil(to_rtlil(top))(
        {f"i{k}": x for k, x in enumerate(operands)},
        signed={name: Shape.cast(m.shape).signed for name, m in members.items()})
    results = [[] for _ in components]
    for name in members:
        results[int(name[1:].split("_")[0])].append(found[name])
    return operands, results


def check(operators):
    operands, results = evaluate([Function(op) for op in operators])
    for operator, (found,) in zip(operators, results, strict=True):
        taken = [x & (1 << s.width) - 1 for x, s in zip(operands, operator.inputs, strict=False)]
        np.testing.assert_array_equal(found, operator(*taken)[0], err_msg=str(operator))


TREES = [Tree(), Tree("chain"), Tree("halves"), Tree(words=False), Tree(chain=4),
         Tree("halves", chain=6, every=2), Tree("chain", every=1, chain=9),
         Tree(words=False, every=3)]


def test_a_popcount_is_the_number_of_differences():
    operators = [Popcount(bits, HALF**2 * 3**bits % (1 << bits), tree)
                 for bits in (*range(1, 14), 16, 31, 64, 100) for tree in TREES]
    check(operators)
    bits = np.random.default_rng(SEED).integers(0, 2, (100, 9))
    weights = np.array([operators[-1].weights >> k & 1 for k in range(100)])
    np.testing.assert_array_equal(operators[-1](*bits)[0], (bits != weights[:, None]).sum(axis=0))


def test_dot_products_and_votes_are_exact():
    two, three, signs = Planes.of(unsigned(2)), Planes.of(signed(3)), Planes((5, 3), signs=True)
    check([*(BinaryDot(bits, tree) for bits in (2, 5, 17, 40) for tree in TREES),
           *(Vote(bits, kind) for bits in (2, 7, 33) for kind in ("and", "or", "majority"))])
    check([BitPlanes(count, x, w, tree) for count in (1, 11) for x in (two, three, signs)
           for w in (two, three, signs) for tree in TREES[:4]])


def test_planes_are_integers():
    planes = BitPlanes(3, Planes.of(unsigned(2)), Planes.of(signed(3)))
    x, w = np.random.default_rng(SEED).integers(0, 4, (2, 3, 50))
    np.testing.assert_array_equal(planes(*x, *(w + 4))[0], (x * (w - 4)).sum(axis=0))


@pytest.mark.parametrize(("operator", "family", "most"), [
    (Popcount(256), Family.ICE40, 1.46),
    (Popcount(256, HALF**4 % 2**256, Tree("halves")), Family.ECP5, 1.37),
    (Popcount(256), Family.GOWIN, 1.53), (BinaryDot(256, Tree("chain")), Family.ECP5, 1.57),
    (BinaryDot(64), Family.ICE40, 2.19)], ids=["iCE40", "ECP5", "Gowin", "ECP5 dot", "iCE40 dot"])
def test_luts_for_a_bit(operator, family, most):
    lut4 = synthesized(family, synthesize(to_rtlil(Function(operator)), family)).lut4
    assert lut4 / operator.bits <= most
    assert abs(operator.lut4(family) / lut4 - 1) < 0.06
    assert operator.bound(family)[0] < lut4


@pytest.mark.parametrize(("operator", "family"), [
    (Popcount(20, 0x5A63C, Tree("halves")), Family.ECP5),
    (BinaryDot(9, Tree("chain")), Family.ECP5), (BinaryDot(9), Family.ICE40)],
    ids=["ECP5", "ECP5 dot", "iCE40 dot"])
def test_the_netlist_counts(operator, family):
    bits = len(operator.inputs)
    operands = [np.arange(1 << bits) >> k & 1 for k in range(bits)]
    logic = Logic.of_netlist(netlist(to_rtlil(Function(operator)), family), family.name.lower())
    found = logic({f"i{k}": x for k, x in enumerate(operands)}, signed={"o0": False})["o0"]
    np.testing.assert_array_equal(found, operator(*operands)[0])


def test_the_lemmas_of_a_count_hold():
    lemmas = [lemma for tree in TREES for lemma in Popcount(40, 0, tree).lemmas()]
    assert len(lemmas) > 30
    _, results = evaluate([side for _, gates, naive in lemmas for side in (gates, naive)], 500)
    for (name, _, _), gates, naive in zip(lemmas, results[::2], results[1::2], strict=True):
        np.testing.assert_array_equal(gates, naive, err_msg=name)


def test_a_wrong_sum_fails_its_lemma():
    step = next(iter(Tree().cost([Term(0, Signal(), 1) for _ in range(9)]).steps.values()))
    wrong = replace(step, build=lambda groups: [Term(t.shift, t.value ^ 2, t.high)
                                                for t in step.build(groups)])
    _, (gates, naive) = evaluate([Lemma(wrong, naive=False), Lemma(wrong, naive=True)])
    assert not np.array_equal(gates, naive)


def test_planes_decode():
    codes = np.arange(8)
    np.testing.assert_array_equal(Planes((1, 2, -4)).decode(codes), [0, 1, 2, 3, -4, -3, -2, -1])
    np.testing.assert_array_equal(Planes((1, 2, 5), signs=True).decode(codes),
                                  [8, 6, 4, 2, -2, -4, -6, -8])
    assert Planes((1, 2, -4)).bounds == (-4, 3)
    assert Planes((5, 3), signs=True).bounds == (-8, 8)


def test_the_tree_for_a_clock():
    assert Tree.of(Family.ECP5) == Tree("halves")
    assert Tree.of(Family.ECP5, operands=2) == Tree("chain")
    assert Tree.of(Family.ICE40) == Tree()
    assert Tree.of(Family.ICE40, mhz=60) == Tree(every=1, chain=32)
    assert Tree.of(Family.GOWIN, mhz=300) == Tree(words=False, every=1)


def test_operands_wait_where_their_function_costs_nothing():
    dot = BinaryDot(64, Tree("chain", every=1))
    assert dot.latency == BinaryDot(64, Tree(every=1)).latency == 6
    assert dot.lut4(Family.ECP5) < 1.7 * 64


@pytest.mark.parametrize(("make", "text"), [
    (lambda: Popcount(0), "bits must be 1 to 4096, not 0"),
    (lambda: Popcount(3, 8), r"weights must be 0 to 2\*\*3 - 1, not 8"),
    (lambda: BinaryDot(5000), "bits must be 1 to 4096, not 5000"),
    (lambda: Vote(3, "most"), "kind must be one of and, or, majority, not 'most'"),
    (lambda: Tree("table"), "first must be one of compressors, chain, halves, not 'table'"),
    (lambda: Tree(every=-1), "every must be 0 or more levels, not -1"),
    (lambda: Tree(chain=3), "chain must be 4 or more bits, not 3"),
    (lambda: Planes(()), "scales must be 1 to 8, not 0"),
    (lambda: Planes((1, 0)), r"scales must be 1 to 2\*\*15 or their negatives, not 0"),
    (lambda: BitPlanes(0, Planes((1,)), Planes((1,))), "count must be 1 to 1024, not 0")])
def test_parameters_are_checked(make, text):
    with pytest.raises(ValueError, match=text):
        make()
