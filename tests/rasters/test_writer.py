from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rio_cogeo import cog_validate

from raster_analysis.errors import BudgetError, Cancelled, OutputError, OutputExists
from raster_analysis.grid import Grid, Window
from raster_analysis.rasters import staging, writer
from raster_analysis.rasters.majority import halve
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import LegendEntry

LEGEND = (
    LegendEntry(0, "water", (0, 0, 255)),
    LegendEntry(1, "trees & <shrubs>", (0, 128, 0)),
    LegendEntry(7, "Straße", (255, 0, 0)),
)
UTM = rasterio.crs.CRS.from_epsg(32616).to_wkt(version="WKT2_2019")
Labels = np.ndarray


def grid_of(height: int, width: int) -> Grid:
    return Grid(UTM, Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000), height, width)


def land_cover(height: int, width: int) -> Labels:
    """Patches of three classes with ragged edges and a hole of nodata."""
    rng = np.random.default_rng(11)
    patches = np.kron(rng.integers(0, 3, (height // 40 + 1, width // 40 + 1)), np.ones((40, 40)))[:height, :width]
    labels = np.array([0, 1, 7], np.uint8)[patches.astype(int)]
    labels[rng.random(labels.shape) < 0.03] = 1
    labels[: height // 9, : width // 9] = 255
    return labels


def blocks_of(labels: Labels, height: int, width: int) -> Iterator[tuple[Window, Labels]]:
    for window in Window(0, 0, *labels.shape).split(height, width):
        yield window, labels[window.slices]


def write(path: Path, labels: Labels, block: tuple[int, int] = (500, 700), nodata: int | None = 255) -> Path:
    GdalRasters().write_classified(
        path, grid_of(*labels.shape), blocks_of(labels, *block), legend=LEGEND, nodata=nodata, dtype=labels.dtype.name
    )
    return path


def gdalinfo(path: Path) -> dict[str, object]:
    done = subprocess.run(["gdalinfo", "-json", str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_what_was_written_is_what_rasterio_reads(tmp_path: Path) -> None:
    labels = land_cover(1300, 1700)
    with rasterio.open(write(tmp_path / "a.tif", labels)) as source:
        assert np.array_equal(source.read(1), labels)
        assert (source.crs.to_epsg(), source.transform, source.nodata) == (32616, grid_of(1, 1).transform, 255)
        assert source.colormap(1)[7] == (255, 0, 0, 255)
        assert source.colormap(1)[255] == (0, 0, 0, 0)
        assert source.overviews(1) == [2, 4]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "a.tif.aux.xml"]


def test_the_result_is_a_valid_cog(tmp_path: Path) -> None:
    valid, errors, warnings = cog_validate(write(tmp_path / "a.tif", land_cover(1300, 1700)), strict=True)
    assert (valid, errors, warnings) == (True, [], [])


def test_gdal_shows_layout_compression_and_attribute_table(tmp_path: Path) -> None:
    info = gdalinfo(write(tmp_path / "a.tif", land_cover(1300, 1700)))
    assert (
        info["metadata"]["IMAGE_STRUCTURE"] | {"LAYOUT": "COG", "COMPRESSION": "DEFLATE"}
        == info["metadata"]["IMAGE_STRUCTURE"]
    )
    table = info["rat"] if "rat" in info else info["bands"][0]["rat"]
    assert [column["name"] for column in table["fieldDefn"]] == ["Value", "Class", "Red", "Green", "Blue"]
    assert [row["f"] for row in table["row"]] == [[e.value, e.name, *e.color] for e in LEGEND]
    assert info["bands"][0]["block"] == [512, 512]


def test_overviews_hold_the_most_frequent_class_and_only_classes(tmp_path: Path) -> None:
    labels = land_cover(1301, 1703)
    path = write(tmp_path / "a.tif", labels)
    with rasterio.open(path, overview_level=0) as half:
        assert np.array_equal(half.read(1), halve(labels, 255))
    with rasterio.open(path, overview_level=1) as quarter:
        assert quarter.shape == (326, 426)
        assert set(np.unique(quarter.read(1))) <= {0, 1, 7, 255}


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (512, 512), (40, 1025), (1025, 511)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_every_shape_and_type_reads_back(tmp_path: Path, shape: tuple[int, int], dtype: str) -> None:
    labels = np.random.default_rng(2).integers(0, 9, shape).astype(dtype)
    path = tmp_path / "a.tif"
    GdalRasters().write_classified(
        path, grid_of(*shape), blocks_of(labels, 300, 300), legend=(), nodata=None, dtype=dtype
    )
    with rasterio.open(path) as source:
        assert np.array_equal(source.read(1), labels)
        assert source.dtypes == (dtype,)
    assert cog_validate(path)[0]


def test_a_wide_legend_is_kept_in_uint16(tmp_path: Path) -> None:
    legend = [LegendEntry(40_000, "far", (1, 2, 3))]
    labels = np.full((600, 600), 40_000, np.uint16)
    GdalRasters().write_classified(
        tmp_path / "a.tif", grid_of(600, 600), blocks_of(labels, 600, 600), legend=legend, nodata=None, dtype="uint16"
    )
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.colormap(1)[40_000] == (1, 2, 3, 255)


def test_the_same_pixels_give_the_same_bytes_whatever_the_blocks(tmp_path: Path) -> None:
    labels = land_cover(1300, 1700)
    made = [
        write(tmp_path / f"{block[0]}.tif", labels, block).read_bytes()
        for block in ((512, 512), (700, 300), (1300, 1700))
    ]
    backwards = list(blocks_of(labels, 512, 512))[::-1]
    path = tmp_path / "backwards.tif"
    GdalRasters().write_classified(path, grid_of(1300, 1700), backwards, legend=LEGEND, nodata=255, dtype="uint8")
    assert len({hashlib.sha256(content).hexdigest() for content in [*made, path.read_bytes()]}) == 1


def attempt(path: Path, blocks: Sequence[tuple[Window, Labels]], **changes: object) -> None:
    arguments = {"legend": LEGEND, "nodata": 255, "dtype": "uint8", **changes}
    GdalRasters().write_classified(path, grid_of(100, 100), blocks, **arguments)


def block(row: int, col: int, height: int, width: int, dtype: str = "uint8") -> tuple[Window, Labels]:
    return Window(row, col, height, width), np.zeros((height, width), dtype)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([block(0, 0, 100, 99)], "leave 100 of 10,000 pixels unwritten"),
        ([], "leave 10,000 of 10,000 pixels"),
        ([block(0, 0, 60, 100), block(50, 0, 50, 100)], "overlaps"),
        ([block(0, 0, 100, 100), block(0, 0, 100, 100)], "overlaps"),
        ([block(0, 0, 100, 101)], "reaches over the edge of a grid of 100 x 100"),
        ([(Window(0, 0, 100, 100), np.zeros((100, 99), np.uint8))], "does not fit"),
        ([block(0, 0, 100, 100, "int64")], "int64 does not fit an output of uint8"),
    ],
)
def test_blocks_that_do_not_make_up_the_grid_are_refused_and_leave_nothing(
    tmp_path: Path, blocks: list[tuple[Window, Labels]], words: str
) -> None:
    with pytest.raises(OutputError, match=words):
        attempt(tmp_path / "a.tif", blocks)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "float64"}, "float64 cannot be written; want one of uint8"),
        ({"nodata": 256}, "values 256 do not fit pixel type uint8"),
        ({"legend": [LegendEntry(-1, "x", (0, 0, 0))]}, "values -1 do not fit"),
    ],
)
def test_values_that_the_type_cannot_hold_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(OutputError, match=words):
        attempt(tmp_path / "a.tif", [block(0, 0, 100, 100)], **changes)


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExists, match=r"'a.tif' exists already"):
        attempt(path, [block(0, 0, 100, 100)])
    assert path.read_bytes() == b"precious"


def test_an_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"

    def blocks() -> Iterator[tuple[Window, Labels]]:
        path.write_bytes(b"precious")
        yield block(0, 0, 100, 100)

    with pytest.raises(OutputExists):
        attempt(path, blocks())
    assert path.read_bytes() == b"precious"
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"'a.tif' could not be written: No such file"):
        attempt(tmp_path / "missing" / "a.tif", [block(0, 0, 100, 100)])


def test_errors_of_whoever_makes_the_blocks_pass_through(tmp_path: Path) -> None:
    def blocks() -> Iterator[tuple[Window, Labels]]:
        yield block(0, 0, 50, 100)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        attempt(tmp_path / "a.tif", blocks())
    assert not list(tmp_path.iterdir())


def test_too_small_a_disk_is_refused_with_both_figures(tmp_path: Path) -> None:
    side = 2**23
    with pytest.raises(BudgetError, match=r"may need 154,8\d\d\.\d\d GB .* but .* GB are free"):
        GdalRasters().write_classified(
            tmp_path / "a.tif", grid_of(side, side), [], legend=(), nodata=None, dtype="uint8"
        )
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from raster_analysis.errors import OutputError
from raster_analysis.grid import Affine, Grid, Window
from raster_analysis.rasters.source import GdalRasters
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).integers(0, 250, (2048, 2048), dtype=np.uint8)
grid = Grid(None, Affine.scale(2, -2), 2048, 2048)
blocks = [(w, noise[w.slices]) for w in grid.window.split(512, 512)]
try:
    GdalRasters().write_classified(Path(sys.argv[1]), grid, blocks, legend=(), nodata=None, dtype="uint8")
except OutputError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("kilobytes", [64, 1000, 4090, 4120, 4800, 5300])
def test_a_disk_that_fills_up_at_any_point_is_an_error_and_leaves_nothing(tmp_path: Path, kilobytes: int) -> None:
    path = tmp_path / "a.tif"
    command = [sys.executable, "-c", LIMITED, str(path), str(kilobytes * 1024)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: output 'a.tif'"), done.stdout
    assert str(tmp_path) not in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_flipped_bit_in_the_finished_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = writer._copy_to_cog

    def damage(draft: Path, final: Path, raster: writer.ClassifiedRaster) -> None:
        with rasterio.open(draft, "r+") as sink:
            pixels = sink.read(1)
            pixels[99, 99] ^= 1
            sink.write(pixels, 1)
        honest(draft, final, raster)

    monkeypatch.setattr(writer, "_copy_to_cog", damage)
    with pytest.raises(OutputError, match="does not read back as it was written"):
        attempt(tmp_path / "a.tif", [block(0, 0, 100, 100)])
    assert not list(tmp_path.iterdir())


def test_without_hard_links_the_output_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with staging.staged(tmp_path / "a.txt") as draft:
        draft.write_text("x")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


MEASURED = """
import sys
from pathlib import Path
import numpy as np
from raster_analysis.rasters import gdal_environment
import os
gdal_environment.apply(os.environ)
from raster_analysis.grid import Affine, Grid
from raster_analysis.rasters.source import GdalRasters
side = int(sys.argv[2])
pattern = (np.add.outer(np.arange(1024) // 37, np.arange(1024) // 53) % 6).astype(np.uint8)
grid = Grid(None, Affine.scale(2, -2), side, side)
blocks = ((w, pattern[: w.height, : w.width]) for w in grid.window.split(1024, 1024))
GdalRasters().write_classified(Path(sys.argv[1]), grid, blocks, legend=(), nodata=None, dtype="uint8")
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024)
"""


@pytest.mark.parametrize("side", [8192, pytest.param(20_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_raster(tmp_path: Path, side: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, str(tmp_path / "a.tif"), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    # Most of it is imports: 180 MB where geopandas is installed, more on Python 3.13.
    assert int(done.stdout) < 400


@settings(max_examples=200, deadline=None)
@given(labels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 4)))
def test_halving_takes_a_class_that_no_other_outnumbers(labels: Labels) -> None:
    nodata = 4
    half = halve(labels, nodata)
    assert half.shape == (-(-labels.shape[0] // 2), -(-labels.shape[1] // 2))
    even = np.pad(labels, [(0, side % 2) for side in labels.shape], mode="edge")
    for (row, col), winner in np.ndenumerate(half):
        votes = np.bincount(even[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel(), minlength=5)
        classes = votes[:nodata]
        assert winner == nodata if not classes.any() else votes[winner] == classes.max() and winner != nodata
