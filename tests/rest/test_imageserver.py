"""Image services, asked the way clients ask (contract 7.2)."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import lerc
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from echo import TOOLS, open_bench
from imagery import CLASSES, HEIGHT, PLACE, WIDTH, land_cover, publish, write_cover, write_photo

from raster_analysis import reader
from raster_analysis.app import create_app
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.executors.readers import InlineReaders
from raster_analysis.portal.item import Access
from raster_analysis.portal.users import Role
from raster_analysis.question import Question
from raster_analysis.rest.image_document import DEEPEST_LEVEL, tile_bounds
from raster_analysis.settings import Settings

HOSTED = "/arcgis/rest/services/Hosted"
COVER = f"{HOSTED}/cover/ImageServer"
STORED = "/arcgis/rest/services/System/RasterRendering/ImageServer"
BASE_URL = "https://gis.example.org:8443"
BOUNDS = (500_000.0, 4_000_000.0 - 2 * HEIGHT, 500_000.0 + 2 * WIDTH, 4_000_000.0)
TRANSPARENT = (0, 0, 0, 0)


class CountingReaders(InlineReaders):
    """Remembers what was asked."""

    asked: list[str]

    def ask(self, question: Question):
        self.asked.append(question.name)
        return super().ask(question)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with services `cover`, `photo` and `empty` of alice, and a store `s`."""
    data, store = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("store")
    readers = CountingReaders(reader.answer)
    readers.asked = []
    settings = Settings(data=data, base_url=BASE_URL, stores={"s": store})
    app = create_app(settings, InlineExecutor(open_bench()), tools=TOOLS, readers=readers)
    portal = app.state.rooms.portal
    for name, role in (("alice", Role.PUBLISHER), ("bob", Role.VIEWER)):
        portal.users.add(name, "correct horse battery", role)
    alice = portal.users.get("alice")
    publish(portal, alice, "cover", write_cover(store / "cover.tif"))
    publish(portal, alice, "photo", write_photo(store / "photo.tif"))
    publish(portal, alice, "empty", None)
    with TestClient(app, base_url=BASE_URL) as client:
        client.headers["X-Esri-Authorization"] = f"Bearer {portal.tokens.issue('alice', 3600).value}"
        client.headers["x-bob"] = portal.tokens.issue("bob", 3600).value
        yield client


def ask(site: TestClient, path: str, **fields: Any) -> Any:
    """Return the JSON of a POST, the way the strictest client asks."""
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    answer = site.post(path, data={"f": "json", **form})
    assert answer.status_code == 200
    return answer.json()


def export(site: TestClient, service: str = "cover", **fields: Any) -> httpx.Response:
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return site.post(f"{HOSTED}/{service}/ImageServer/exportImage", data={"f": "image", **form})


def box(bounds: tuple[float, ...] = BOUNDS, wkid: int = 32616) -> dict[str, Any]:
    """Bounds as the envelope object that clients send."""
    return {**dict(zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True)), "spatialReference": {"wkid": wkid}}


def rgba(answer: httpx.Response) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def values(answer: httpx.Response) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The values of a TIFF, where they are valid, and its profile."""
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as image:
        return image.read(), image.dataset_mask() > 0, image.profile


def colors_of(cover: np.ndarray) -> np.ndarray:
    out = np.zeros((*cover.shape, 4), np.uint8)
    for entry in CLASSES:
        out[cover == entry.value] = (*entry.color, 255)
    return out


def test_the_document_has_what_clients_look_at(site: TestClient) -> None:
    told = ask(site, COVER)
    place = {"wkid": 32616, "latestWkid": 32616}
    assert told["extent"] == {**box(), "spatialReference": place} == told["initialExtent"] == told["fullExtent"]
    assert told["spatialReference"] == place
    assert (told["bandCount"], told["pixelType"], told["pixelSizeX"], told["pixelSizeY"]) == (1, "U8", 2, 2)
    assert told["capabilities"] == "Image,Metadata"
    assert told["serviceDataType"] == "esriImageServiceDataTypeThematic"
    assert (told["hasMultidimensions"], told["hasHistograms"], told["hasColormap"]) == (False, True, True)
    assert told["hasRasterAttributeTable"] is True
    assert (told["maxImageHeight"], told["maxImageWidth"]) == (4100, 15000)
    assert (told["minValues"], told["maxValues"]) == ([1], [7])
    assert len(told["meanValues"]) == len(told["stdvValues"]) == 1
    assert {"defaultMosaicMethod", "mosaicOperator", "sortField", "serviceItemId", "tileInfo"} <= set(told)
    assert isinstance(told["currentVersion"], float)


def test_a_document_costs_no_reader_once_it_is_known(site: TestClient) -> None:
    asked = site.app.state.rooms.readers.asked  # type: ignore[attr-defined]
    ask(site, COVER)
    before = len(asked)
    assert ask(site, COVER) == site.get(COVER, params={"f": "json"}).json()
    assert len(asked) == before


def test_a_service_that_no_job_has_filled_has_an_empty_extent(site: TestClient) -> None:
    told = ask(site, f"{HOSTED}/empty/ImageServer")
    assert "error" not in told
    assert [told["extent"][side] for side in ("xmin", "ymin", "xmax", "ymax")] == [0, 0, 0, 0]
    assert told["bandCount"] == 1
    assert "holds no data yet" in ask(site, f"{HOSTED}/empty/ImageServer/exportImage")["error"]["message"]
    tile = site.get(f"{HOSTED}/empty/ImageServer/tile/0/0/0")
    assert not rgba(tile).any()


def test_the_client_fetches_the_image_it_was_promised_without_a_token(site: TestClient) -> None:
    fields = {"bbox": box(), "bboxSR": {"wkid": 32616}, "size": "20,20", "format": "png", "imageSR": {"wkid": 32616}}
    told = ask(site, f"{COVER}/exportImage", **fields)
    assert set(told) == {"href", "width", "height", "extent", "scale"}
    assert (told["width"], told["height"]) == (20, 20)
    assert told["extent"] == {**box(), "spatialReference": {"wkid": 32616, "latestWkid": 32616}}
    assert told["href"].startswith(f"{BASE_URL}{COVER}/exportImage/picture?")
    stranger = TestClient(site.app, base_url=BASE_URL)
    fetched = stranger.get(told["href"])
    assert fetched.headers["content-type"] == "image/png"
    assert fetched.content == export(site, **fields).content


def test_a_link_opens_its_own_image_only_and_not_for_long(site: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = TestClient(site.app, base_url=BASE_URL)
    href = ask(site, f"{COVER}/exportImage", bbox=box(), size="20,20")["href"]
    for wrong in (href.replace("/cover/", "/photo/"), href[:-6] + "AAAAAA", href.partition("?")[0], href[:-40]):
        assert stranger.get(wrong).json()["error"]["code"] == 400
    monkeypatch.setattr("raster_analysis.rest.image_ticket.LIFETIME_S", -1)
    old = ask(site, f"{COVER}/exportImage", bbox=box(), size="20,20")["href"]
    assert "out of date" in stranger.get(old).json()["error"]["message"]
    assert stranger.get(f"{COVER}?f=json").json()["error"]["code"] == 400


def test_a_link_ends_with_the_right_of_who_asked_for_it(site: TestClient) -> None:
    portal = site.app.state.rooms.portal  # type: ignore[attr-defined]
    alice = portal.users.get("alice")
    item = ask(site, COVER)["serviceItemId"]
    bob = {"X-Esri-Authorization": f"Bearer {site.headers['x-bob']}"}
    portal.items.change(item, alice, {"access": Access.ORG})
    href = (
        TestClient(site.app, base_url=BASE_URL)
        .get(f"{COVER}/exportImage?f=json&size=20,20", headers=bob)
        .json()["href"]
    )
    assert site.get(href).headers["content-type"].startswith("image/")
    portal.items.change(item, alice, {"access": Access.PRIVATE})
    assert site.get(href).json()["error"]["code"] == 400


def test_another_user_does_not_learn_that_a_service_exists(site: TestClient) -> None:
    stranger = TestClient(
        site.app, base_url=BASE_URL, headers={"X-Esri-Authorization": f"Bearer {site.headers['x-bob']}"}
    )
    for path in ("", "/exportImage", "/identify", "/legend", "/tile/0/0/0", "/statistics"):
        missing = stranger.get(f"{HOSTED}/nothing/ImageServer{path}", params={"f": "json"}).json()
        forbidden = stranger.get(f"{COVER}{path}", params={"f": "json"}).json()
        assert forbidden["error"]["message"] == missing["error"]["message"].replace("nothing", "cover")


def test_a_tiff_of_the_whole_raster_is_the_raster(site: TestClient) -> None:
    data, mask, profile = values(export(site, bbox=box(), size=f"{WIDTH},{HEIGHT}", format="tiff"))
    assert np.array_equal(data[0], land_cover())
    assert np.array_equal(mask, land_cover() != 0)
    assert (profile["transform"], profile["crs"].to_epsg(), profile["nodata"]) == (PLACE, 32616, 0)


def test_a_tiff_at_native_resolution_is_a_window_of_the_raster(site: TestClient) -> None:
    bounds = (500_200.0, 3_999_400.0, 500_400.0, 3_999_800.0)
    data, _, _ = values(export(site, bbox=",".join(map(str, bounds)), bboxSR="32616", size="100,200", format="tiff"))
    assert np.array_equal(data[0], land_cover()[100:300, 100:200])


def test_what_lies_outside_of_the_raster_is_not_valid(site: TestClient) -> None:
    data, mask, _ = values(export(site, bbox="499900,3999900,500100,4000100", size="100,100", format="tiff"))
    assert not mask[:50].any()
    assert not mask[:, :50].any()
    assert np.array_equal(data[0, 50:, 50:], land_cover()[:50, :50])


@pytest.mark.parametrize("format", ["png", "png32", "png8", "jpgpng"])
def test_pictures_have_the_colours_of_the_classes_and_nothing_where_there_is_none(
    site: TestClient, format: str
) -> None:
    answer = export(site, bbox=box(), size=f"{WIDTH},{HEIGHT}", format=format)
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(rgba(answer), colors_of(land_cover()))


def test_png24_and_jpg_have_no_transparency(site: TestClient) -> None:
    plain = rgba(export(site, bbox=box(), size=f"{WIDTH},{HEIGHT}", format="png24"))
    assert (plain[:, :10] == 255).all()
    assert (plain[land_cover() == 7] == (*CLASSES[2].color, 255)).all()
    answer = export(site, bbox=box(), size=f"{WIDTH},{HEIGHT}", format="jpg", compressionQuality="90")
    assert answer.headers["content-type"] == "image/jpeg"
    assert np.abs(rgba(answer).astype(int) - plain).mean() < 8


def test_a_photograph_that_is_full_comes_as_jpeg_and_a_torn_one_as_png(site: TestClient) -> None:
    full = export(site, "photo", bbox="500000,3999600,500400,4000000", size="100,100", format="jpgpng")
    torn = export(site, "photo", size="100,75", format="jpgpng")
    assert (full.headers["content-type"], torn.headers["content-type"]) == ("image/jpeg", "image/png")


def test_lerc_gives_values_and_mask_as_they_are(site: TestClient) -> None:
    answer = export(site, bbox=box(), size=f"{WIDTH},{HEIGHT}", format="lerc", lercVersion="2")
    code, data, mask = lerc.decode(answer.content)
    assert code == 0
    assert np.array_equal(mask, land_cover() != 0)
    assert np.array_equal(data[mask], land_cover()[mask])
    code, bands, _ = lerc.decode(export(site, "photo", size="40,30", format="lerc").content)
    assert (code, bands.shape, bands.dtype) == (0, (3, 30, 40), np.uint16)


def test_continuous_values_are_stretched_between_their_percentiles(site: TestClient) -> None:
    picture = rgba(export(site, "photo", size="400,300", format="png32"))
    red = picture[:250, 100, 0].astype(int)
    assert red[0] < 20
    assert red[-1] > 200
    assert (np.diff(red) >= 0).all()
    assert not picture[260:, 360:].any()


def test_bands_are_chosen_by_number(site: TestClient) -> None:
    data, _, _ = values(export(site, "photo", size="400,300", format="tiff", bandIds="2,0"))
    whole, _, _ = values(export(site, "photo", size="400,300", format="tiff"))
    assert np.array_equal(data, whole[[2, 0]])
    grey = rgba(export(site, "photo", size="40,30", format="png32", bandIds="1"))
    assert (grey[..., 0] == grey[..., 2]).all()
    assert "bands 0 to 2" in ask(site, f"{HOSTED}/photo/ImageServer/exportImage", bandIds="3")["error"]["message"]
    assert "bands 0 to 2" in export(site, "photo", bandIds="3").json()["error"]["message"]


def test_pixel_type_and_nodata_of_values_are_as_asked(site: TestClient) -> None:
    data, mask, profile = values(export(site, size=f"{WIDTH},{HEIGHT}", format="tiff", pixelType="F32", noData="7"))
    assert profile["dtype"] == "float32"
    assert np.array_equal(mask, (land_cover() != 0) & (land_cover() != 7))
    assert set(np.unique(data[0][mask])) == {1.0, 2.0}


@pytest.mark.parametrize("compression", ["None", "LZ77", "LZW"])
def test_compression_does_not_change_a_value(site: TestClient, compression: str) -> None:
    data, _, profile = values(export(site, size=f"{WIDTH},{HEIGHT}", format="tiff", compression=compression))
    assert np.array_equal(data[0], land_cover())
    assert profile.get("compress", "none") == {"LZ77": "deflate", "LZW": "lzw", "None": "none"}[compression]


def test_interpolation_is_as_asked(site: TestClient) -> None:
    near, _, _ = values(export(site, size="90,70", format="tiff"))
    assert set(np.unique(near)) <= {0, 1, 2, 7}
    smooth, _, _ = values(export(site, size="77,61", format="tiff", interpolation="RSP_BilinearInterpolation"))
    assert set(np.unique(smooth)) - {0, 1, 2, 7}


def test_rendering_rules(site: TestClient) -> None:
    whole = {"bbox": box(), "size": f"{WIDTH},{HEIGHT}", "format": "png32"}
    raw = rgba(export(site, **whole, renderingRule={"rasterFunction": "None"}))
    assert np.array_equal(raw[..., 0], land_cover())
    rule = {"rasterFunction": "Colormap", "rasterFunctionArguments": {"Colormap": [[1, 255, 0, 0], [2, 0, 255, 0]]}}
    own = rgba(export(site, **whole, renderingRule=rule))
    assert (own[land_cover() == 1] == (255, 0, 0, 255)).all()
    assert not own[land_cover() == 7].any()
    stretch = {"StretchType": 5, "Statistics": [[1, 7, 3, 2]], "DRA": False}
    grey = rgba(export(site, **whole, renderingRule={"rasterFunction": "Stretch", "rasterFunctionArguments": stretch}))
    assert (grey[land_cover() == 7] == 255).all()
    assert (grey[land_cover() == 1][:, 0] == 0).all()


@pytest.mark.parametrize("kind", [0, 3, 5, 6])
def test_every_stretch_draws_a_picture(site: TestClient, kind: int) -> None:
    arguments = {"StretchType": kind, "MinPercent": 1, "MaxPercent": 1, "NumberOfStandardDeviations": 2.5}
    rule = {"rasterFunction": "Stretch", "rasterFunctionArguments": arguments}
    assert rgba(export(site, "photo", size="40,30", format="png32", renderingRule=rule)).any()


def test_a_reprojected_picture_shows_the_same_place(site: TestClient) -> None:
    told = ask(site, f"{COVER}/exportImage", bbox=box(), bboxSR="32616", imageSR="102100", size="300,200")
    assert told["extent"]["spatialReference"] == {"wkid": 102100, "latestWkid": 3857}
    bounds = rasterio.warp.transform_bounds("EPSG:32616", "EPSG:3857", *BOUNDS)
    assert [told["extent"][s] for s in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(list(bounds), rel=1e-6)


def test_the_whole_world_holds_the_raster_too(site: TestClient) -> None:
    fields = {"bbox": "-180,-90,180,90", "bboxSR": "4326", "imageSR": "102100", "size": "512,512", "format": "png32"}
    shown = rgba(export(site, **fields))[..., 3]
    assert (shown > 0).sum() <= 4
    assert "error" not in ask(site, f"{COVER}/exportImage", **fields)


def test_a_text_reference_is_as_good_as_a_code(site: TestClient) -> None:
    wkt = rasterio.CRS.from_epsg(32616).to_wkt(version="WKT1_ESRI")
    answer = export(
        site, bbox=box(), bboxSR={"wkt": wkt}, imageSR={"wkt": wkt}, size=f"{WIDTH},{HEIGHT}", format="tiff"
    )
    assert np.array_equal(values(answer)[0][0], land_cover())


def test_the_aspect_is_adjusted_when_asked(site: TestClient) -> None:
    told = ask(
        site, f"{COVER}/exportImage", bbox="500000,3999000,500100,3999100", size="200,100", adjustAspectRatio="true"
    )
    assert [told["extent"][s] for s in ("xmin", "xmax")] == [499_950, 500_150]


def test_identify_tells_value_and_class(site: TestClient) -> None:
    row, col = np.argwhere(land_cover() == 7)[0]
    x, y = PLACE @ (float(col) + 0.5, float(row) + 0.5)
    told = ask(site, f"{COVER}/identify", geometry={"x": x, "y": y}, geometryType="esriGeometryPoint")
    assert (told["value"], told["properties"]["Values"]) == ("7", ["7"])
    assert told["properties"]["Attributes"] == [{"Value": 7, "Class": "Road", "Red": 90, "Green": 90, "Blue": 90}]
    assert told["location"]["spatialReference"]["wkid"] == 32616
    assert ask(site, f"{COVER}/identify", geometry=f"{x},{y}")["value"] == "7"
    assert ask(site, f"{COVER}/identify", geometry="500001,3999999")["value"] == "NoData"
    assert ask(site, f"{COVER}/identify", geometry="0,0")["value"] == "NoData"


def test_values_at_many_points_in_another_reference(site: TestClient) -> None:
    places = [(100, 100), (333, 444), (0, 0), (699, 899)]
    xs, ys = zip(*(PLACE @ (col + 0.5, row + 0.5) for row, col in places), strict=True)
    lon, lat = rasterio.warp.transform("EPSG:32616", "EPSG:4326", xs, ys)
    points = {"points": list(zip(lon, lat, strict=True)), "spatialReference": {"wkid": 4326}}
    told = ask(site, f"{COVER}/getSamples", geometry=points, geometryType="esriGeometryMultipoint")["samples"]
    wanted = [str(land_cover()[place]) if land_cover()[place] else "NoData" for place in places]
    assert [sample["value"] for sample in told] == wanted
    assert ask(site, f"{COVER}/identify", geometry=points)["properties"]["Values"] == wanted


def test_legend_table_and_colormap_name_the_classes(site: TestClient) -> None:
    (layer,) = ask(site, f"{COVER}/legend")["layers"]
    assert [row["label"] for row in layer["legend"]] == ["Water", "Tree", "Road"]
    table = ask(site, f"{COVER}/rasterAttributeTable")
    assert [row["attributes"]["Class"] for row in table["features"]] == ["Water", "Tree", "Road"]
    assert ask(site, f"{COVER}/colormap")["colormap"] == [[e.value, *e.color] for e in CLASSES]
    assert len(ask(site, f"{HOSTED}/photo/ImageServer/legend")["layers"][0]["legend"]) == 3


def test_statistics_and_histograms_are_those_of_the_pixels(site: TestClient) -> None:
    valid = land_cover()[land_cover() != 0]
    (band,) = ask(site, f"{COVER}/statistics")["statistics"]
    assert (band["min"], band["max"], band["count"]) == (1, 7, valid.size)
    assert (band["mean"], band["standardDeviation"]) == pytest.approx((valid.mean(), valid.std()))
    (histogram,) = ask(site, f"{COVER}/histograms")["histograms"]
    assert (histogram["size"], histogram["min"], histogram["max"]) == (256, -0.5, 255.5)
    assert histogram["counts"] == np.bincount(valid, minlength=256).tolist()


def test_statistics_of_a_part(site: TestClient) -> None:
    part = land_cover()[100:200, 300:450]
    x, y = PLACE @ (300, 100)
    told = ask(site, f"{COVER}/computeStatisticsHistograms", geometry=box((x, y - 200, x + 300, y)))
    assert told["statistics"][0]["count"] == (part != 0).sum()
    assert told["histograms"][0]["counts"][7] == (part == 7).sum()
    assert "outside" in ask(site, f"{COVER}/computeStatisticsHistograms", geometry="0,0,1,1")["error"]["message"]


def test_tiles_make_the_picture(site: TestClient) -> None:
    left, _, _, top = rasterio.warp.transform_bounds("EPSG:32616", "EPSG:3857", *BOUNDS)
    level = 14
    side = 2 * 20037508.342789244 / 2**level
    row, col = int((20037508.342789244 - top) // side), int((left + 20037508.342789244) // side)
    tile = rgba(site.get(f"{COVER}/tile/{level}/{row}/{col}"))
    assert tile.shape == (256, 256, 4)
    fields = {"bbox": ",".join(map(repr, tile_bounds(level, row, col))), "bboxSR": "3857", "size": "256,256"}
    assert np.array_equal(tile, rgba(export(site, **fields, format="png")))
    assert tile[..., 3].any()
    assert not rgba(site.get(f"{COVER}/tile/{level}/{row + 50}/{col}")).any()


@given(st.integers(0, DEEPEST_LEVEL), st.data())
def test_tiles_cover_the_world_once(level: int, data: st.DataObject) -> None:
    row, col = (data.draw(st.integers(0, 2**level - 1)) for _ in range(2))
    xmin, ymin, xmax, ymax = tile_bounds(level, row, col)
    assert (xmax - xmin) == pytest.approx(ymax - ymin)
    if col + 1 < 2**level:
        assert tile_bounds(level, row, col + 1)[0] == xmax
    if row + 1 < 2**level:
        assert tile_bounds(level, row + 1, col)[3] == ymin


@given(
    corner=st.tuples(st.integers(-200, WIDTH + 100), st.integers(-200, HEIGHT + 100)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
@settings(max_examples=30, deadline=None)
def test_any_window_of_cells_is_those_cells(site: TestClient, corner: tuple[int, int], size: tuple[int, int]) -> None:
    (col, row), (width, height) = corner, size
    (xmin, ymax), (xmax, ymin) = PLACE @ corner, PLACE @ (col + width, row + height)
    answer = export(site, bbox=f"{xmin},{ymin},{xmax},{ymax}", size=f"{width},{height}", format="tiff")
    padded = np.pad(land_cover(), 600)[row + 600 : row + 600 + height, col + 600 : col + 600 + width]
    assert np.array_equal(values(answer)[0][0], padded)


def test_a_store_s_raster_is_drawn_for_publishers(site: TestClient) -> None:
    raster = "/rasterStores/s/photo.tif"
    assert ask(site, STORED, Raster=raster)["bandCount"] == 3
    told = ask(site, f"{STORED}/exportImage", Raster={"uri": raster}, size="40,30", format="png32")
    assert rgba(TestClient(site.app, base_url=BASE_URL).get(told["href"])).any()
    assert ask(site, STORED)["extent"]["xmax"] == 0
    for wrong in ("/rasterStores/s/../x", "/etc/passwd", "/rasterStores/s/nothing.tif", "https://evil.example/x", "{"):
        assert ask(site, STORED, Raster=wrong)["error"]["code"] == 400
    bob = {"X-Esri-Authorization": f"Bearer {site.headers['x-bob']}"}
    assert site.post(STORED, data={"f": "json", "Raster": raster}, headers=bob).json()["error"]["code"] == 403
    stranger = TestClient(site.app, base_url=BASE_URL)
    assert stranger.post(STORED, data={"f": "json", "Raster": raster}).json()["error"]["code"] == 499


HOSTILE = ["NaN", "1e999", "-1", "", "{}", "[]", "null", "9" * 400, "x" * 10_000, "0,0,0,0", "1,2,3,4,5", "a,b,c,d",
           '{"xmin":"NaN","ymin":0,"xmax":1,"ymax":1}', '{"xmin":1,"ymin":1,"xmax":0,"ymax":0}', '{"wkid":999999}',
           '{"wkid":-1}', '{"wkt":"nonsense"}', '{"x":1e999,"y":0}', '{"points":[[1]]}', '{"points":[[null,1]]}',
           "1000000000,1000000000", "0,0", "20", '{"rasterFunction":"Hillshade"}', '{"rasterFunction":["a"]}',
           '{"rasterFunction":"Colormap","rasterFunctionArguments":{"Colormap":[[1,2]]}}',
           '{"rasterFunction":"Colormap","rasterFunctionArguments":{"Colormap":[[1,999,0,0]]}}',
           '{"rasterFunction":"Stretch","rasterFunctionArguments":{"StretchType":6,"MinPercent":"x"}}',
           '{"rasterFunction":"Stretch","rasterFunctionArguments":{"Raster":{"rasterFunction":"NDVI"}}}',
           "/vsicurl/http://x", "<xml/>", "-0.0,-0.0,1e-300,1e-300", "1e300,1e300,1.1e300,1.1e300",
           "\u0000", "é☃"]  # fmt: skip


@pytest.mark.parametrize("name", ["bbox", "bboxSR", "imageSR", "size", "format", "pixelType", "noData", "bandIds",
                                  "interpolation", "compressionQuality", "renderingRule", "geometry",
                                  "compressionTolerance"])  # fmt: skip
def test_hostile_values_are_answered_and_never_a_fault_of_ours(site: TestClient, name: str) -> None:
    for value in HOSTILE:
        for path in ("exportImage", "identify", "computeStatisticsHistograms"):
            for wanted in ("json", "image"):
                if wanted == "image" and path != "exportImage":
                    continue
                answer = site.post(f"{COVER}/{path}", data={"f": wanted, "size": "20,20", name: value})
                assert answer.status_code == 200
                if answer.headers["content-type"] == "application/json":
                    told = answer.json()
                    assert told.get("error", {}).get("code") != 500, (name, value, told)


@pytest.mark.parametrize("size", ["15001,10", "10,4101", "15000,4100"])
def test_an_image_that_is_too_large_is_refused_before_it_is_read(site: TestClient, size: str) -> None:
    answer = export(site, "photo", size=size, format="tiff")
    assert "at most" in answer.json()["error"]["message"] or "width is" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["query", "multidimensionalInfo", "download", "measure", "tile/1/2/0", "tile/x/0/0",
                                  "tile/99/0/0", "nonsense"])  # fmt: skip
def test_what_is_not_there_is_refused_politely(site: TestClient, path: str) -> None:
    answer = site.get(f"{COVER}/{path}", params={"f": "json"})
    assert (answer.status_code, answer.json()["error"]["code"] in (400, 404)) == (200, True)


def test_pages_show_the_raster(site: TestClient) -> None:
    page = site.get(COVER, params={"f": "html"}).text
    assert "<img" in page
    source = page.partition('<figure class="preview"><img src="')[2].partition('"')[0].replace("&amp;", "&")
    assert rgba(site.get(source)).any()
    assert "<img" in site.get(f"{COVER}/exportImage", params={"f": "html", "size": "40,40"}).text
    assert site.get(f"{COVER}/info/thumbnail").headers["content-type"] == "image/png"
