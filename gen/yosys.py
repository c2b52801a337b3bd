"""Yosys: run a script of it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["keep_log", "yosys"]

# Yosys ends the process on an error and holds global state: neither belongs in ours.
RUNNER = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for line in sys.stdin:
    ys.run_pass(line.strip(), design)
"""


def yosys(script: Sequence[str], folder: Path) -> str:
    """Run the commands of `script` with `folder` as working directory; return what was printed.

    Raises
    ------
    ValueError
        If Yosys fails: its last words, and the file that has all of them.
    """
    result = subprocess.run([sys.executable, "-P", "-c", RUNNER], cwd=folder, text=True,
                            input="\n".join(script), check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        raise ValueError(keep_log("Yosys", result.stdout))
    return result.stdout


def keep_log(tool: str, log: str, lines: int = 3) -> str:
    """Save the `log` of a tool that failed, where it outlives the output; return what to tell."""
    with tempfile.NamedTemporaryFile("w", prefix=f"bittern-{tool.lower()}-", suffix=".log",
                                     delete=False) as file:
        file.write(log)
    last = [line.strip() for line in log.splitlines() if line.strip()][-lines:]
    return f"{tool} failed: {' | '.join(last) or 'it said nothing'} (all of its log: {file.name})"
