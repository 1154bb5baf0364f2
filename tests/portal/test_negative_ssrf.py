"""A07: no spelling of a URL makes the server, or a slot, talk to a host that the administrator did not list."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from argon2 import PasswordHasher
from pydantic import ValidationError

from raster_analysis.errors import InputError, ParameterError, RasterError
from raster_analysis.handle import Handle
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.inputs import ContextInput, ProcessingContext, RasterInput
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.portal import Settings as PortalSettings
from raster_analysis.portal.users import Role
from raster_analysis.rasters.pinned_http import Patience, PinnedClient
from raster_analysis.rasters.service_hosts import ServiceHosts, read_service_url, read_url
from raster_analysis.settings import Settings
from raster_analysis.tool import Kind, OutputInfo, Parameters, Tool, parameter

ALLOWED = "https://images.example.org/arcgis/rest/services/x/ImageServer"
QUICK = Patience(connect_s=1, idle_s=1, total_s=1, tries=1, pause_s=0)
PATH = "/arcgis/rest/services/x/ImageServer"


class Input(Parameters):
    raster: RasterInput = parameter("inputRaster", "", kind=Kind.RASTER)
    context: ContextInput = parameter("context", "", kind=Kind.CONTEXT, default=ProcessingContext())


TOOL = Tool("Input", "Input", "", Input, (OutputInfo("out", ""),))


@dataclass
class Canary:
    """A port of this machine that nobody may connect to."""

    port: int
    connections: list[object] = field(default_factory=list)


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        listener.settimeout(0.05)
        canary, done = Canary(listener.getsockname()[1]), threading.Event()

        def watch() -> None:
            while not done.is_set():
                try:
                    connection, peer = listener.accept()
                except TimeoutError:
                    continue
                canary.connections.append(peer)
                connection.close()

        thread = threading.Thread(target=watch)
        thread.start()
        yield canary
        done.set()
        thread.join()


@pytest.fixture(autouse=True)
def _nobody_connects(canary: Canary) -> Iterator[None]:
    yield
    assert canary.connections == []


@pytest.fixture(scope="module")
def hosts(canary: Canary) -> ServiceHosts:
    """One public server; and on the canary's port only names that stand for something else."""
    return ServiceHosts.of(["images.example.org", f"http://listed.example.org:{canary.port}"], [])


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, hosts: ServiceHosts) -> Iterator[Portal]:
    folder = tmp_path_factory.mktemp("portal")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    portal = Portal(PortalSettings(folder, "https://gis.example:8443", image_hosts=hosts), hasher=cheap)
    portal.users.add("alice", "s3cret-pass", Role.PUBLISHER)
    yield portal
    portal.close()


def bind(portal: Portal, raster: object, **form: object) -> dict[str, Handle]:
    return portal.bind(TOOL, TOOL.parse({"inputRaster": raster, **form}), "alice")


def test_a_listed_service_is_bound_with_its_token_and_nothing_else_of_its_query(portal: Portal) -> None:
    for raster in (f"{ALLOWED}?token=T", {"url": f"{ALLOWED}/", "serviceToken": "T"}, f"{ALLOWED}?a=1&token=T&f=json"):
        handle = bind(portal, raster)["inputRaster"]
        assert handle.remote is not None
        assert (handle.remote.url, handle.remote.token, handle.title, handle.path) == (ALLOWED, "T", ALLOWED, "")
    handles = bind(portal, ALLOWED, context={"snapRaster": {"url": ALLOWED}, "cellSize": {"url": ALLOWED}})
    assert {name for name, handle in handles.items() if handle.remote} == {
        "inputRaster",
        "context.snapRaster",
        "context.cellSize",
    }


HOSTILE = [
    "127.1", "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "\uff11\uff12\uff17.0.0.1", "localhost",
    "localhost.", "images.example.org.", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "user@127.0.0.1", "images.example.org@127.0.0.1",
    "images.example.org\\@127.0.0.1", "127.0.0.1#@images.example.org", "images.example.org%2f127.0.0.1",
    "images.example.org%00.evil.example", "images.example.org.evil.example", "im\u0430ges.example.org",
    "images.example.org:22", "images.example.org:65536", "images.example.org:443:80", "images.example.org:", "",
    "images.example.org\t", "images.example.org\r\nHost: x", "images_example.org", "\u24d8mages.example.org",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
@pytest.mark.parametrize("host", HOSTILE)
def test_A07_hosts_that_are_not_on_the_list_are_refused_in_any_spelling(
    portal: Portal, canary: Canary, scheme: str, host: str
) -> None:
    for port in ("", f":{canary.port}"):
        with pytest.raises(ParameterError) as refused:
            bind(portal, {"url": f"{scheme}://{host}{port}{PATH}?token=s3cret"})
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["file", "gopher", "ftp", "dict", "ldap", "FILE", "jar:https", "//", "ws"])
def test_A07_other_schemes_are_refused(portal: Portal, scheme: str) -> None:
    for raster in ({"url": f"{scheme}://images.example.org{PATH}"}, f"{scheme}://images.example.org{PATH}"):
        with pytest.raises(ParameterError):
            bind(portal, raster)


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.org/arcgis/rest/services/x/ImageServer",
        "https://images.example.org/arcgis/rest/services/x/MapServer",
        "https://images.example.org/arcgis/../x/ImageServer",
        "https://images.example.org/a//b/ImageServer",
        "https://images.example.org/ImageServer%2f..%2fadmin",
        "https://images.example.org",
        "https://images.example.org/x/ImageServer\u2028",
        f"https://images.example.org/{'x' * 3000}/ImageServer",
    ],
)
def test_A07_a_listed_host_is_asked_for_image_services_only(portal: Portal, url: str) -> None:
    with pytest.raises(ParameterError):
        bind(portal, {"url": url})


def test_A07_an_upper_case_spelling_of_a_listed_host_is_that_host(portal: Portal) -> None:
    handle = bind(portal, {"url": f"HTTPS://IMAGES.example.org:443{PATH}"})["inputRaster"]
    assert handle.remote is not None
    assert handle.remote.url == ALLOWED


PRIVATE = [
    "127.0.0.1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.5", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:0:0:0:0:80ff:fffe",
    "192.0.2.1", "100.100.100.200", "::127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:a00:5", "fec0::1", "5f00::1",
]  # fmt: skip
NEVER = {
    "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "fd00:ec2::254", "ff02::1",
    "100.100.100.200",
}  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_A07_a_listed_name_that_stands_for_an_inner_address_is_not_connected_to(
    canary: Canary, hosts: ServiceHosts, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    answer_with(monkeypatch, [address])
    with pytest.raises(RasterError, match="has an address that may not be connected to"):
        get(hosts, f"http://listed.example.org:{canary.port}{PATH}")
    private = ServiceHosts.of([], [f"http://listed.example.org:{canary.port}"])
    url = read_url(f"http://listed.example.org:{canary.port}{PATH}")
    if address in NEVER:
        assert not private.allow_address(url, address)


def test_A07_one_inner_address_among_public_ones_is_enough_to_refuse(
    canary: Canary, hosts: ServiceHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, ["93.184.215.14", "127.0.0.1"])
    with pytest.raises(RasterError, match="has an address that may not be connected to"):
        get(hosts, f"http://listed.example.org:{canary.port}{PATH}")


def test_A07_a_name_that_changes_between_lookups_is_looked_up_once(
    canary: Canary, hosts: ServiceHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    connected: list[object] = []

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(RasterError, match="cannot be reached"):
        get(hosts, f"http://listed.example.org:{canary.port}{PATH}")
    assert connected == [("93.184.215.14", canary.port)]


def test_A07_a_private_host_must_be_listed_as_such_and_with_its_port(canary: Canary) -> None:
    here = f"http://127.0.0.1:{canary.port}"
    public, other_port = ServiceHosts.of([here], []), ServiceHosts.of([], ["http://127.0.0.1:1"])
    with pytest.raises(RasterError, match="has an address that may not be connected to"):
        get(public, here + PATH)
    with pytest.raises(RasterError, match="is on a server that is not allowed here"):
        get(other_port, here + PATH)
    assert ServiceHosts.of([], [here]).allow_address(read_url(here + PATH), "127.0.0.1")


@pytest.mark.parametrize("entry", ["", "ftp://x", "a b", "x/path", "*", "*.example.org", "user@x", "x:0", "x:99999"])
def test_an_entry_that_names_no_server_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(InputError, match="names no server"):
        ServiceHosts.of([entry], [])


def test_the_list_is_a_setting_that_reaches_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(image_hosts=("images.example.org",), private_image_hosts=("http://[::1]:8000",))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
    hosts = ServiceHosts.of(settings.image_hosts, settings.private_image_hosts)
    assert hosts.allow(read_service_url(ALLOWED))
    assert hosts.allow(read_url("http://[0::1]:8000/x"))
    with pytest.raises(ValidationError):
        Settings(image_hosts=("https://user@x",))


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let names stand for these addresses, the last answer for ever."""
    left = list(answers)

    def look_up(_host: str, port: int, **_more: object) -> list[object]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def get(hosts: ServiceHosts, url: str) -> bytes:
    return PinnedClient(hosts, QUICK, ListReporter().check_cancelled).get(read_url(url), {}, 1000)
