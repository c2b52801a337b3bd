"""The wheel: all of the package and nothing else, and it works where no checkout is."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("boards", "gen", "hw", "sim")
DATA = {"bittern/py.typed", "bittern/gen/report.html", "bittern/sim/harness.cpp",
        "bittern/sim/models/ecp5.v", "bittern/sim/models/gowin.v"}

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not (ROOT / "src").is_dir(), reason="needs a checkout")]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A source distribution, and the wheel that is built of it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def names(dist):
    (wheel,) = dist.glob("bittern-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sources():
    """Return the files of the package, by their names in the wheel."""
    folders = {"": ROOT / "src" / "bittern", **{f"{name}/": ROOT / name for name in LINKS}}
    return {f"bittern/{prefix}{path.relative_to(folder).as_posix()}"
            for prefix, folder in folders.items() for path in folder.rglob("*.py")
            if not (prefix == "" and path.relative_to(folder).parts[0] in LINKS)}


def test_the_wheel_has_every_module_and_all_data(names):
    assert sources() | DATA <= names


def test_the_wheel_has_nothing_else(names):
    others = {name for name in names if ".dist-info/" not in name}
    assert others == sources() | DATA


def test_the_wheel_has_its_licence(names):
    assert any(name.endswith("LICENSE") for name in names)


def test_links_became_folders(dist):
    (sdist,) = dist.glob("bittern-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [m.name for m in members if m.issym() or m.islnk()]
    assert any(m.name.endswith("src/bittern/hw/stream.py") for m in members)


def test_the_wheel_works_without_the_checkout(dist, tmp_path):
    (wheel,) = dist.glob("bittern-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    digits = ROOT / "examples" / "digits"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    program = "import bittern.gen; print(bittern.gen.__file__)"
    where = subprocess.run([sys.executable, "-c", program],
                           cwd=tmp_path, env=environment, capture_output=True, text=True,
                           check=True)
    assert where.stdout.startswith(str(tmp_path / "site"))
    done = subprocess.run([sys.executable, "-m", "bittern", "golden", digits / "digits.onnx",
                           "--input", digits / "test.npz"],
                          cwd=tmp_path, env=environment, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "accuracy 97.78%" in done.stdout
