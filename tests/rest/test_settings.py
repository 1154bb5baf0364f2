from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from raster_analysis.settings import Settings
from raster_analysis.user_errors import user_errors


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://127.0.0.1:8443"),
        ({"http": True, "port": 80}, "http://127.0.0.1:80"),
        ({"host": "0.0.0.0"}, "https://localhost:8443"),
        ({"host": "::1"}, "https://[::1]:8443"),
        ({"base_url": "https://gis.example.org/ra/"}, "https://gis.example.org/ra"),
    ],
)
def test_the_public_url_is_what_clients_reach(given: dict[str, object], url: str) -> None:
    assert Settings(**given).public_url == url  # type: ignore[arg-type]


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RASTER_ANALYSIS_PORT", "9000")
    monkeypatch.setenv("RASTER_ANALYSIS_MEMORY_LIMIT", "6GiB")
    monkeypatch.setenv("RASTER_ANALYSIS_STORES", '{"s": "/srv/s"}')

    settings = Settings()
    assert settings.port == 9000
    assert settings.memory_limit == 6 * 1024**3
    assert settings.stores == {"s": Path("/srv/s")}


def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, stores={"s": tmp_path}, gpus=("0",), memory_limit="6GiB", http=True)  # type: ignore[arg-type]
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert Settings() == settings


def test_each_gpu_gets_a_slot_and_the_others_see_none() -> None:
    environments = Settings(slots=1, gpus=("0", "1")).slot_environments()

    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["0", "1", ""]


def test_a_single_slot_may_use_the_whole_machine() -> None:
    (environment,) = Settings().slot_environments()

    assert "OMP_NUM_THREADS" not in environment
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_several_slots_share_the_cores_that_the_server_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(7)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    environments = Settings(slots=2, gpus=("0",)).slot_environments()

    assert [environment["RASTER_ANALYSIS_THREADS"] for environment in environments] == ["2"] * 3
    assert [environment["OMP_NUM_THREADS"] for environment in environments] == ["2"] * 3


def test_the_threads_that_an_operator_gives_hold_for_every_slot() -> None:
    for settings in (Settings(threads=3), Settings(threads=3, slots=9)):
        for environment in settings.slot_environments():
            assert environment["RASTER_ANALYSIS_THREADS"] == environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    "given",
    [
        {"port": 0},
        {"base_url": "gis.example.org"},
        {"slots": 0},
        {"certificate": Path("c.pem")},
        {"prot": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**given)  # type: ignore[arg-type]


def test_every_setting_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()

    assert [name for name in Settings.model_fields if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STORES", "{bad", "stores"),
        ("CERTIFICATE", "/nowhere.pem", "setting certificate: Path does not point to a file"),
        ("PORT", "0", "setting port"),
    ],
)
def test_a_wrong_setting_is_one_line_and_no_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"RASTER_ANALYSIS_{name}", value)
    with pytest.raises(SystemExit, match="2"), user_errors():
        Settings()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
