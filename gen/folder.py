"""Output folders: there is the whole of one, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOAD", "MANIFEST", "new_folder", "read_manifest"]

MANIFEST = "manifest.json"
LOAD = "load.bin"
"""File of what a design loads at start, if it does."""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, beside `path`; in the end it takes the place of `path`.

    On an error nothing is left of it, and what was at `path` still is. Only what Bittern wrote is
    replaced.

    Raises
    ------
    ValueError
        If `path` cannot be written, or holds something else.
    """
    given, path = path, path.resolve()
    try:
        if path.exists() and not path.is_dir():
            raise ValueError(f"{given} is a file: choose another output folder")
        if path.is_dir() and any(path.iterdir()) and not _ours(path):
            raise ValueError(f"{given} is not empty and was not written by bittern: choose another "
                             "output folder, or empty it")
        if path == Path.cwd():
            raise ValueError(f"{given} is the folder you are in: choose another output folder")
        parent = next(folder for folder in path.parents if folder.exists())
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=parent))
    except OSError as error:
        raise ValueError(f"cannot write {given}: {error.strerror}") from error
    try:
        yield fresh
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o777 & ~mask)
        _replace(path, fresh)
    except OSError as error:
        if error.filename is None:
            raise
        raise ValueError(f"cannot write {given}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _ours(path: Path) -> bool:
    try:
        return "bittern" in json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, TypeError):
        return False


def _replace(path: Path, fresh: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh.rename(path)
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as away:
        path.rename(Path(away, "old"))
        fresh.rename(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an output folder, or raise :exc:`ValueError`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        what = f"has no {MANIFEST}" if folder.is_dir() else "is not a folder"
        raise ValueError(f"{folder} {what}: make it with bittern build") from None
    except OSError as error:
        raise ValueError(f"cannot read {folder / MANIFEST}: {error.strerror}") from error
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or "bittern" not in manifest:
        raise ValueError(f"{folder / MANIFEST} is damaged: make {folder} anew with bittern build")
    return manifest
