"""What the benchmarks share: networks, devices, how commands run, results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bittern.boards import board
from bittern.boards.board import Device, Family, Resources

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
DIGITS = ROOT / "examples" / "digits"
TFCS = ("tfc_w1a1", "tfc_w2a2")
JETS = "jet_tagging_w6a6"
TINY = ("mlperf_tiny_kws", "mlperf_tiny_ic", "mlperf_tiny_ad")
SUFFIXES = (".onnx", ".tflite")
HX8K = Device(title="iCE40 HX8K", family=Family.ICE40, device="hx8k", package="ct256", speed="",
              resources=Resources(lut4=7680, ff=7680, dsp=0, bram=32, bram_bits=4096,
                                  bram_width=16))
ECP5_25F = Device(title="ECP5 25F", family=Family.ECP5, device="25k", package="CABGA381",
                  speed="6", resources=Resources(lut4=24288, ff=24288, dsp=28, bram=56,
                                                 bram_bits=18432, bram_width=36))
ECP5_85F = Device(title="ECP5 85F", family=Family.ECP5, device="85k", package="CABGA381",
                  speed="6", resources=Resources(lut4=83640, ff=83640, dsp=156, bram=208,
                                                 bram_bits=18432, bram_width=36))
GW2A = board("tang_primer_20k")
UP5K = board("icebreaker")


def shared() -> Path:
    """Return the folder of networks that do not come with Bittern."""
    return Path(os.environ.get("BITTERN_SHARED", ROOT.parent / "shared"))


def network(name: str) -> tuple[Path, Path] | None:
    """Return a network's model and data, or say that they are not there."""
    if name == "digits":
        return DIGITS / "digits.onnx", DIGITS / "test.npz"
    data = shared() / "data" / f"{name}.npz"
    for suffix in SUFFIXES:
        model = shared() / "models" / f"{name}{suffix}"
        if model.is_file() and data.is_file():
            return model, data
    say(f"skipped {name}: neither beside the checkout nor in the folder BITTERN_SHARED names are "
        f"models/{name}{' or '.join(SUFFIXES)} and data/{name}.npz")
    return None


def bittern(*arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Run a command of Bittern; return its JSON, and the command as a person would give it."""
    found, shown, _ = weighed(*arguments)
    return found, shown


def weighed(*arguments: str | Path) -> tuple[dict[str, Any], str, int]:
    """As `bittern`; return the bytes of memory it had at most, too."""
    shown = shlex.join(["bittern", *(a.name if isinstance(a, Path) else a for a in arguments)])
    say(f"$ {shown}")
    with subprocess.Popen([sys.executable, "-m", "bittern", *map(str, arguments), "--json"],
                          stdout=subprocess.PIPE, text=True) as run:
        said = run.stdout.read() if run.stdout else ""
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode not in (0, 1):
        sys.exit(run.returncode)
    try:
        return json.loads(said), shown, 1024 * used.ru_maxrss
    except ValueError:
        sys.exit(f"{shown} failed")


def say(text: str) -> None:
    """Tell of progress."""
    print(text, file=sys.stderr, flush=True)


def versions(*packages: str) -> dict[str, str]:
    """Return versions of what a result depends on."""
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def machine() -> str:
    """Return what processor measures times."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {name}"


def load(name: str) -> dict[str, Any]:
    """Return what is stored in ``results/NAME.json``."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def write_page(page: Path, text: str, doc: str) -> int:
    """Write `page`, or with the argument ``--check`` compare it; return the exit code."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    name = page.relative_to(ROOT)
    if parser.parse_args().check:
        if page.read_text() != text:
            say(f"{name} is not what is measured: run benchmarks/{Path(sys.argv[0]).name}")
            return 1
        return 0
    page.write_text(text)
    say(f"written: {name}")
    return 0


def save(name: str, results: dict[str, Any]) -> None:
    """Merge into ``results/NAME.json``: a run of one part keeps what others found."""
    file = RESULTS / f"{name}.json"
    kept = load(name)
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(kept | results, indent=1, sort_keys=True) + "\n")
    say(f"written: {file.relative_to(ROOT)}")


def row(*cells: object) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |\n"


def table(*head: str) -> str:
    """Return the head of a table in Markdown."""
    return row(*head) + "|" + "---|" * len(head) + "\n"
