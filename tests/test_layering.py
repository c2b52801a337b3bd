"""The rules of the house: which directory may import which, and that indexes are complete."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from bittern.boards import BOARDS
from bittern.gen.importers import IMPORTERS
from bittern.gen.ir import Layer
from bittern.gen.layers import LAYERS
from bittern.gen.passes import PIPELINE
from bittern.hw.formats import FORMATS
from bittern.hw.formats.format import Format

ROOT = Path(__file__).parent.parent
ALLOWED = {"hw": {"hw"}, "gen": {"hw", "gen"}, "sim": {"hw", "gen", "sim"},
           "boards": {"hw", "gen", "boards"}}
SOURCES = sorted(p for d in ALLOWED for p in (ROOT / d).rglob("*.py"))


def test_there_are_sources():
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    names = [n.module for n in ast.walk(ast.parse(path.read_text()))
             if isinstance(n, ast.ImportFrom) and n.module]
    used = {n.split(".")[1] for n in names if n.startswith("bittern.")}
    assert used <= ALLOWED[path.relative_to(ROOT).parts[0]]


def modules(package):
    folder = ROOT.joinpath(*package.split("."))
    return {p.stem: import_module(f"bittern.{package}.{p.stem}")
            for p in folder.glob("*.py") if p.stem != "__init__"}


def subclasses(package, base):
    return {value for module in modules(package).values() for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)}


def test_every_layer_is_in_the_index():
    assert subclasses("gen.layers", Layer) == set(LAYERS)


def test_every_format_is_in_the_index():
    assert subclasses("hw.formats", Format) == set(FORMATS)


def test_every_pass_is_in_the_index():
    assert {getattr(m, name) for name, m in modules("gen.passes").items()} == set(PIPELINE)


def test_every_board_is_in_the_index():
    assert {m.BOARD for m in modules("boards").values() if hasattr(m, "BOARD")
            and m.BOARD.name} >= set(BOARDS)


def test_there_are_importers():
    assert IMPORTERS
