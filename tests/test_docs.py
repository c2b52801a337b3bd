"""What the documents say exists: commands, options, files, targets, operators, numbers."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bittern.boards import BOARDS
from bittern.cli import main
from bittern.gen.importers.qonnx.interpreter import RULES
from bittern.gen.importers.qonnx.shapes import SHAPE_RULES
from bittern.gen.passes import PIPELINE
from bittern.gen.units import UNITS
from bittern.hw.link import Command, Status

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
BENCHMARKS = sorted(p for p in ROOT.glob("benchmarks/*.py") if p.name != "common.py")
documents = pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"```[a-z]*\n(.*?)```|(?<!`)`([^`\n]+)`", re.DOTALL)


def commands(path, first):
    """Return the lines of code in a document that call `first`, as words."""
    blocks = re.findall(r"(?m)^ {4}(\S.*)$", path.read_text())
    for fenced, inline in CODE.findall(path.read_text()):
        blocks += (fenced or inline).splitlines()
    lines = (line.split("#")[0].split() for line in blocks)
    return [words for words in lines if words[:1] == [first] and len(words) > 1]


def test_there_are_documents():
    names = {path.name for path in DOCS}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "architecture.md"} <= names
    assert commands(ROOT / "README.md", "bittern")
    assert commands(ROOT / "README.md", "make")


@documents
def test_links_lead_to_files(path):
    missing = [link for link in LINK.findall(path.read_text())
               if not (path.parent / link.replace("\\", "")).exists()]
    assert not missing


@documents
def test_commands_exist_with_their_options(path):
    for _, verb, *words in commands(path, "bittern"):
        assert verb in main.commands, f"bittern {verb}"
        parameters = main.commands[verb].params
        options = {name for p in parameters for name in p.opts} | {"--help", "-h"}
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        assert used <= options, f"bittern {verb}"


def test_the_readme_gives_each_command_what_it_needs():
    longest_last = sorted(commands(ROOT / "README.md", "bittern"), key=len)
    full = {verb: set(words) for _, verb, *words in longest_last}
    assert set(full) == set(main.commands)
    for verb, words in full.items():
        needed = [p for p in main.commands[verb].params if p.required]
        options = [p for p in needed if isinstance(p, click.Option)]
        assert all(words & set(p.opts) for p in options), verb
        positional = len(needed) - len(options)
        assert len([w for w in words if not w.startswith("-")]) >= positional, verb


@documents
def test_targets_of_make_exist(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {word for _, *words in commands(path, "make") for word in words if "=" not in word
            and not word.startswith(("-", "/")) and word.isidentifier()}
    assert used <= targets


@documents
def test_scripts_exist(path):
    for words in [*commands(path, "python"), *commands(path, ".venv/bin/python")]:
        for word in words:
            assert not word.endswith(".py") or (ROOT / word).is_file(), word


def test_the_readme_names_all_operators():
    text = (ROOT / "README.md").read_text()
    names = [op.rsplit(".", 1)[-1] for op in (*RULES, *SHAPE_RULES)]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_readme_names_all_boards():
    text = (ROOT / "README.md").read_text()
    assert [b.name for b in BOARDS if f"`{b.name}`" not in text or b.title not in text] == []


def test_the_documents_name_passes_and_formats():
    architecture, arithmetic = ((ROOT / "docs" / name).read_text()
                                for name in ("architecture.md", "arithmetic.md"))
    assert [p.__name__ for p in PIPELINE if f"`{p.__name__}`" not in architecture] == []
    formats = [name for kind in UNITS for name in kind.formats()]
    assert [name for name in formats if f"`{name}`" not in arithmetic] == []


def test_the_protocol_is_documented():
    text = (ROOT / "docs" / "link.md").read_text()
    for member in (*Command, *Status):
        assert f"| {member.value} | `{member.name}` |" in text


def test_the_readme_quotes_the_results():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "readme.py", "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["cells_page.py", "hardened_page.py"])
def test_pages_quote_the_measurements(script):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda p: p.name)
def test_benchmarks_explain_themselves(script):
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@documents
def test_documents_name_no_place_on_a_machine(path):
    assert not re.findall(r"/(?:work|home|root|tmp|Users)/", path.read_text())
