"""Importers, one for each format of model files: a file becomes a `Network`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bittern.gen.importers import onnx, qonnx, tflite

if TYPE_CHECKING:
    from bittern.gen.network import Network

__all__ = ["IMPORTERS", "Importer", "read"]


class Importer(Protocol):
    """What a module of this package has."""

    SUFFIXES: tuple[str, ...]

    def recognizes(self, data: bytes) -> bool:
        """Return whether `data` looks like a file of this format."""

    def read(self, data: bytes, name: str) -> Network:
        """Import a file's content, or raise :exc:`ValueError`; `name` is for messages and files."""


IMPORTERS: tuple[Importer, ...] = (onnx, qonnx, tflite)


def read(path: str | Path) -> Network:
    """Read a model file; the importer is chosen by its content, else by its suffix.

    Raises
    ------
    ValueError
        If there is no such file, it is not a whole model, or the network in it is not supported.
        The message is for the user: one line, or one for each node that is not supported.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a directory, not a model file") from None
    except (OSError, ValueError) as error: # ValueError: a null character in the path
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    if not data:
        raise ValueError(f"{path} is empty, not a model")
    suffix = path.suffix.lower()
    found = [i for i in IMPORTERS if i.recognizes(data)] or [
        i for i in IMPORTERS if suffix in i.SUFFIXES]
    if found:
        return found[0].read(data, path.stem)
    suffixes = ", ".join(sorted({suffix for i in IMPORTERS for suffix in i.SUFFIXES}))
    raise ValueError(f"{path} is not a model that can be imported: these are ({suffixes})")
