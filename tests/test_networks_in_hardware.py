"""Random networks of each importer in Verilator: every bit, and every cycle, as promised."""

from itertools import chain, islice

import hardware_networks
import pytest
from hardware_networks import IMPORTERS, Simulation, cases

from bittern.gen.ir import Graph


def made(count, seed, folder):
    """Return a simulation of so many networks of each importer."""
    together = [*chain(*(islice(cases(name, range(seed, seed + 99)), count)
                         for name in IMPORTERS))]
    assert len(together) == count * len(IMPORTERS)
    return Simulation(together, folder)


def differing(simulation, seed):
    found = zip(simulation.cases, simulation.differences(seed), strict=True)
    return {str(case): differs for case, differs in found if differs}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return made(2, 20, tmp_path_factory.mktemp("networks"))


def test_random_networks_are_exact_in_every_cycle(simulation):
    assert differing(simulation, 20) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500, 100))
def test_more_random_networks_are_exact_in_every_cycle(seed, tmp_path):
    assert differing(made(4, seed, tmp_path), seed) == {}


def test_what_differs_is_told(simulation, monkeypatch):
    right = hardware_networks.frames
    monkeypatch.setattr(hardware_networks, "frames", lambda case: right(case)[:1])
    assert differing(simulation, 1) == {
        str(case): f"interval None and not {case.plan.timing.interval} cycles"
        for case in simulation.cases}


def test_a_bit_that_differs_is_told(simulation, monkeypatch):
    case, right = simulation.cases[0], Graph.golden
    monkeypatch.setattr(Graph, "golden", lambda graph, x: right(graph, x) + (graph is case.graph))
    found = differing(simulation, 1)
    assert found.keys() == {str(case)}
    assert "frame " in found[str(case)]
