"""The pages that show how clients are used do what they say: their code runs, and prints what they show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from live_server import PASSWORD, LiveServer
from served import SAMPLES, Results, find_program, missing, run_jobs
from transcript import Block, play_python, play_shell, read_blocks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SERVER = "https://127.0.0.1:8443"
"""How the pages call the server."""
NOT_HERE = re.compile(r"^(make |python3 -m venv|raster-analysis serve)", re.MULTILINE)
"""What would install the project again, or is what the fixtures do."""
QGIS = """
import os, sys
from qgis.core import *
application = QgsApplication([], False)
application.initQgis()
QgsApplication.authManager().setMasterPassword("of a throw-away profile", True)
exec(sys.argv[1])
sys.stdout.flush()
os._exit(0)  # leaving the usual way crashes
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """A server over TLS with its own certificate, as `raster-analysis serve` starts it, with two results."""
    folder = tmp_path_factory.mktemp("transcripts")
    imagery = folder / "imagery"
    server = LiveServer(folder, http=False, environment={"RASTER_ANALYSIS_STORES": f'{{"imagery": "{imagery}"}}'})
    imagery.mkdir()
    for package, name in (("detector", "trees"), ("landcover", "landcover")):
        for place in (imagery, folder):
            shutil.copy2(SAMPLES / "packages" / f"{package}.dlpk", place / f"{name}.dlpk")
    try:
        results = run_jobs(server)
        for place in (imagery / "orthophoto.tif", folder / "orthophoto.tif", folder / "scenes" / "one.tif"):
            place.parent.mkdir(exist_ok=True)
            shutil.copy2(server.store / "scene.tif", place)
        yield results
    finally:
        server.stop()


@pytest.fixture
def environment(served: Results) -> dict[str, str]:
    """What a shell of a user has, with the project's commands before all others."""
    folder = served.server.folder
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    places = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PASSWORD": PASSWORD, "QT_QPA_PLATFORM": "offscreen"}
    return {**places, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}


def blocks_of(path: Path, language: str, served: Results) -> list[Block]:
    """Return the code of a page, with the addresses and the token of the server at hand."""
    text = path.read_text().replace(SERVER, served.server.url).replace("PASTE-THE-TOKEN", served.token)
    return [block for block in read_blocks(text, language) if not NOT_HERE.search(block.code)]


def test_the_page_for_curl_does_what_it_says(served: Results, environment: dict[str, str]) -> None:
    find_program("curl")
    play_shell(blocks_of(DOCS / "use-from-curl.md", "sh", served), served.server.folder, environment)


def test_the_page_for_gdal_does_what_it_says(served: Results, environment: dict[str, str]) -> None:
    find_program("ogr2ogr")
    blocks = blocks_of(DOCS / "use-from-gdal.md", "sh", served)
    play_shell(blocks, served.server.folder, environment)


def test_the_page_of_the_ogc_api_does_what_it_says(served: Results, environment: dict[str, str]) -> None:
    find_program("ogr2ogr")
    play_shell(blocks_of(DOCS / "ogc.md", "sh", served), served.server.folder, environment)


def test_the_page_for_qgis_does_what_it_says(served: Results, environment: dict[str, str]) -> None:
    find_program("qgis_process")
    python = Path("/usr/bin/python3")
    if not python.exists():
        missing(f"there is no {python} to run PyQGIS")
    blocks = blocks_of(DOCS / "use-from-qgis.md", "python", served)
    play_python(blocks, [str(python), "-c", QGIS], served.server.folder, environment)


def test_the_commands_of_the_readme_do_what_it_says(served: Results, environment: dict[str, str]) -> None:
    find_program("curl")
    blocks = blocks_of(ROOT / "README.md", "sh", served)
    assert len(blocks) >= 2
    # The first start makes an administrator only when there is no user yet.
    add = ["users", "add", "admin", "--role", "administrator", "--data", str(served.server.data)]
    subprocess.run([sys.executable, "-m", "raster_analysis", *add], check=True, stdout=subprocess.DEVNULL)
    play_shell(blocks, served.server.folder, environment)


def test_the_python_of_the_readme_does_what_it_says(served: Results, environment: dict[str, str]) -> None:
    blocks = [replace(block, shown=None) for block in blocks_of(ROOT / "README.md", "python", served)]
    assert blocks
    (served.server.folder / "trees.gpkg").unlink(missing_ok=True)
    play_python(blocks, [sys.executable, "-c"], served.server.folder, environment)


def test_an_output_that_differs_from_the_page_is_a_fault() -> None:
    block = Block("echo 1 2", "1 ... 3\n")
    assert block.fault("1 2 and 3\n") is None
    assert "but it prints" in str(block.fault("1 2\n"))


def test_a_command_that_fails_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        play_shell([Block("false\necho on", None)], tmp_path, {"PATH": os.environ["PATH"]})
