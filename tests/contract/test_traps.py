"""The fifteen traps of contract 1, errors (2.3) and statuses (2.4): what makes clients fail without a word why."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_tasks import TASKS
from cryptography import x509
from live_server import PASSWORD, LiveServer
from raster_analysis.tools import TOOLS
from strict_analytics import Analytics
from strict_client import RETRIED, ClientError, Connection, Gis, is_inaccessible
from strict_content import Content, Item
from strict_layers import FeatureLayer, ImageryLayer
from strict_toolbox import RUNNING, JobEnded, Toolbox, python_name, source_of, submit_job

ROUTES = Path(__file__).parents[2] / "docs" / "routes.md"
WORDS = re.compile("token required|invalid token", re.IGNORECASE)
ENDED = {"esriJobSucceeded", "esriJobFailed", "esriJobCancelled", "esriJobTimedOut"}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def bob(server: LiveServer, certificate: Path) -> Iterator[Connection]:
    connection = Connection(certificate, server.tokens["bob"])
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def stranger(certificate: Path) -> Iterator[Connection]:
    connection = Connection(certificate)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def expired(certificate: Path) -> Iterator[Connection]:
    """A client whose token is unknown by now; it does not send anything twice."""
    connection = Connection(certificate, "0" * 64, by_oauth=False)
    yield connection
    connection.close()


# The fifteen rules


def test_trap_01_tls_is_spoken_on_the_port_and_nothing_else(server: LiveServer) -> None:
    with httpx.Client() as client, pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.get(f"http://127.0.0.1:{server.port}/portal/sharing/rest/info")


def test_trap_01_tls_certificate_is_for_localhost_and_is_not_trusted_unasked(
    server: LiveServer, certificate: Path
) -> None:
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in found.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, found.get_values_for_type(x509.IPAddress))
    with httpx.Client() as client, pytest.raises(httpx.ConnectError):
        client.get(f"{server.url}/portal/sharing/rest/info")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(certificate))) as client:
        assert client.get(f"https://localhost:{server.port}/livez").status_code == 200


def test_trap_01_tls_addresses_that_users_write_with_http_work(server: LiveServer, certificate: Path) -> None:
    gis = Gis(server.url.replace("https", "http") + "/portal", certificate, token=server.tokens["ann"])
    assert gis.username == "ann"
    gis.connection.close()


def test_trap_02_passwords_are_taken_by_pages_that_programs_read(sign_in: Callable[..., Gis]) -> None:
    gis = sign_in("oauth")
    assert not any("generateToken" in path for path in gis.connection.paths())
    answer = next(each.response for each in gis.connection.log if each.path.endswith("/oauth2/signin"))
    assert answer.status_code == 302


@pytest.mark.parametrize("context", ["/portal", ""])
@pytest.mark.parametrize("way", ["X-Esri-Authorization", "Authorization", "query", "form"])
def test_trap_03_token_is_taken_wherever_clients_put_it(
    server: LiveServer, stranger: Connection, context: str, way: str
) -> None:
    token, headers, data = server.tokens["ann"], {}, {"f": "json"}
    if way in ("query", "form"):
        data["token"] = token
    else:
        headers[way] = f"Bearer {token}"
    where = "params" if way == "query" else "data"
    for path in (f"{context}/sharing/rest/community/self", f"{context}/sharing/rest/portals/self"):
        sent: Document = {where: data, "headers": headers}
        answer = stranger.http.request("GET" if way == "query" else "POST", server.url + path, **sent).json()
        assert answer.get("user", answer)["username"] == "ann"


def test_trap_04_errors_are_envelopes_under_200(stranger: Connection, bob: Connection, server: LiveServer) -> None:
    rest = f"{server.url}/portal/sharing/rest"
    for connection, path in [
        (stranger, "/community/self"),
        (bob, "/content/items/none"),
        (bob, "/content/users/ann/addItem"),
        (bob, "/nothing/of/this/kind"),
    ]:
        answer = connection.send("POST", rest + path, {"f": "json"}, token=connection is bob)
        assert answer.status_code == 200
        error = answer.json()["error"]
        assert isinstance(error["code"], int)
        assert error["message"]
        assert isinstance(error["details"], list)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"inputRaster": "{", "model": "[1", "outputObjects": '{"a":'},
        {"inputRaster": "/etc/passwd", "model": "no.dlpk", "outputObjects": "x"},
        {"maxOverlapRatio": "much", "runNMS": "perhaps", "context": "none"},
        {"inputRaster": "\x00\ud7ff\U0010ffff", "model": "[" * 5000, "outputObjects": "'" * 5000},
        {"inputRaster": '{"itemId":"\\ud800"}', "model": '{"itemId":{"a":1}}', "outputObjects": "[]"},
        {"inputRaster": "1" * 5000, "model": "1e999", "outputObjects": "NaN"},
    ],
)
def test_trap_05_submit_always_gives_a_job_id(analytics: Analytics, form: Document) -> None:
    tools = analytics.tools
    for task in tools.tasks:
        job_id = submit_job(tools.connection, tools.url, task, form)
        assert re.fullmatch("j[0-9a-f]{32}", job_id)
        document = analytics.gis.connection.get(f"{tools.url}/{task}/jobs/{job_id}")
        assert document["jobStatus"] in RUNNING | ENDED


def test_trap_05_the_reason_reaches_the_user_and_the_output_goes(analytics: Analytics, content: Content) -> None:
    with pytest.raises(JobEnded, match=r"Job failed: .*none\.tif"):
        analytics.detect_objects("/rasterStores/s/none.tif", "/rasterStores/s/detector.dlpk", "never filled")
    assert content.search("title:never_filled") == []


@pytest.mark.parametrize("job", ["j" + "0" * 32, "none", "%00", "j" + "f" * 500])
def test_trap_06_unknown_jobs_have_failed(analytics: Analytics, job: str) -> None:
    for task in analytics.tools.tasks:
        for more in ("", "/cancel"):
            document = analytics.gis.connection.get(f"{analytics.tools.url}/{task}/jobs/{job}{more}")
            assert document["jobStatus"] == "esriJobFailed"
            assert document["messages"][0].keys() == {"type", "description"}


@pytest.mark.parametrize("task", [task for task in TASKS if task in TOOLS])
def test_trap_07_names_are_the_python_names_that_clients_call(analytics: Analytics, task: str) -> None:
    tools = analytics.tools
    code = tools.functions[python_name(task)].__code__
    taken = code.co_varnames[: code.co_argcount]
    assert {python_name(name) for name in TASKS[task].parameters} | {"gis", "future", "estimate"} <= set(taken)


def test_trap_07_the_irregular_names_are_kept(analytics: Analytics) -> None:
    assert "ComputeAccuracyforObjectDetection" in analytics.tools.tasks
    assert python_name("minIoU") == "min_io_u"
    names = [each["name"] for each in analytics.tools.tasks["ClassifyPixelsUsingDeepLearning"]["parameters"]]
    assert "outputClassifiedRaster" in names


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("who", ["stranger", "expired", "bob"])
def test_trap_08_the_root_is_the_root_for_everybody(
    server: LiveServer, request: pytest.FixtureRequest, who: str, method: str
) -> None:
    connection: Connection = request.getfixturevalue(who)
    url = f"{server.url}/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
    for address in (url, f"{url}/"):
        document = connection.ask(method, address)
        assert {"executionType", "tasks", "resultMapServerName", "currentVersion"} <= document.keys()
    assert Toolbox(connection, url).tasks


def test_trap_09_versions_are_a_number_here_and_a_text_there(gis: Gis, analytics: Analytics) -> None:
    for url in (gis.toolbox_url, f"{gis.root.removesuffix('/portal')}/arcgis/rest/services"):
        version = gis.connection.get(url)["currentVersion"]
        assert isinstance(version, float)
        assert version >= 11.0
    assert re.fullmatch(r"\d+(\.\d+)+", gis.connection.get(gis.rest)["currentVersion"])
    assert analytics.version >= 11.0


def test_trap_10_defaults_and_texts_survive_being_pasted_into_source(analytics: Analytics) -> None:
    kinds = {"GPBoolean": bool, "GPDouble": (int, float), "GPLong": int, "GPString": str}
    for task in analytics.tools.tasks.values():
        compile(source_of(task), task["name"], "exec")
        assert "\\" not in task["description"]
        for parameter in task["parameters"]:
            assert '"""' not in parameter["description"] + task["description"]
            default = parameter["defaultValue"]
            assert default is None or isinstance(default, kinds[parameter["dataType"]])


def test_trap_10_a_text_for_a_boolean_would_be_noticed(analytics: Analytics) -> None:
    """What the check above would not see, were it wrong: the client's own error."""
    task = json.loads(json.dumps(analytics.tools.tasks["DetectObjectsUsingDeepLearning"]))
    next(each for each in task["parameters"] if each["name"] == "runNMS")["defaultValue"] = "true"
    with pytest.raises(NameError, match="'true' is not defined"):
        exec(compile(source_of(task), "x", "exec"), {})
    with pytest.raises(SyntaxError):
        compile(source_of({**task, "description": "C:\\users"}), "x", "exec")


def test_trap_11_results_are_objects_one_for_each_output(analytics: Analytics, trees: Item) -> None:
    log = analytics.gis.connection.log
    answers = [each.response.json() for each in log if each.path.endswith("/results/outObjects")]
    assert answers
    for answer in answers:
        assert answer.keys() == {"paramName", "dataType", "value"}
        assert answer["dataType"] == "GPString"
        assert answer["value"].keys() == {"itemId", "url"}


@pytest.mark.parametrize(("kind", "last"), [("featureService", "FeatureServer"), ("imageService", "ImageServer")])
def test_trap_12_a_service_that_no_job_filled_answers_at_once(content: Content, kind: str, last: str) -> None:
    item = content.create_service(kind, f"empty {kind}", {"description": "d", "tags": "a,b", "snippet": "s"})
    assert item["url"].endswith(f"/Hosted/empty_{kind}/{last}")
    document = content.ask.post(item["url"])
    if last == "FeatureServer":
        assert (document["layers"], document["tables"]) == ([], [])
    else:
        assert ImageryLayer(content.gis, item["url"]).properties()["bandCount"] >= 0
    assert item.delete()


def test_trap_13_what_is_read_may_be_posted_to(gis: Gis, trees: Item) -> None:
    for url in (
        gis.toolbox_url, f"{gis.toolbox_url}/DetectObjectsUsingDeepLearning", trees["url"], f"{trees['url']}/0",
        f"{trees['url']}/0/query", f"{gis.rest}content/items/{trees.id}", f"{gis.rest}search",
        f"{gis.rest}portals/self",
        gis.rest, f"{gis.rest}info", f"{gis.rest}community/self", f"{gis.rest}content/users/ann",
    ):  # fmt: skip
        asked = {"q": "tree", "where": "1=1"}
        assert gis.connection.post(url, **asked) == gis.connection.get(url, **asked)


@pytest.mark.parametrize("spelled", ["true", "True", "TRUE", "1", "false", "False", ""])
def test_trap_14_booleans_come_in_every_spelling_and_nothing_as_an_empty_text(
    analytics: Analytics, spelled: str
) -> None:
    tools = analytics.tools
    form = {"inputRaster": "/rasterStores/s/none.tif", "model": "", "outputObjects": "x", "runNMS": spelled}
    job_id = submit_job(tools.connection, tools.url, "DetectObjectsUsingDeepLearning", {**form, "context": ""})
    job = f"{tools.url}/DetectObjectsUsingDeepLearning/jobs/{job_id}"
    while (document := tools.connection.get(job))["jobStatus"] in RUNNING:
        pass
    told = json.dumps(document["messages"])
    assert "model is missing" in told
    assert "runNMS" not in told
    assert "context" not in told


def test_trap_15_a_model_is_published_by_adding_an_item(analytics: Analytics, detector: Item) -> None:
    assert detector["type"] == "Deep Learning Package"
    assert detector.id in [model.id for model in analytics.list_models()]


# The table of contract 2.3


def test_an_item_that_is_missing_and_one_that_is_anothers_are_none(sign_in: Callable[..., Gis], trees: Item) -> None:
    content = Content(sign_in("token", user="bob"))
    for item_id in ("0" * 32, trees.id):
        assert content.get(item_id) is None
        with pytest.raises(ClientError, match=r"\(Error Code: 400\)") as told:
            Item(content.gis, item_id)
        assert is_inaccessible(told.value)


def test_a_user_that_is_missing_is_told_in_the_words_that_mean_none(gis: Gis) -> None:
    with pytest.raises(ClientError, match="User does not exist or is inaccessible"):
        gis.connection.get(f"{gis.rest}community/users/nobody")


@pytest.mark.parametrize("value", ["None", "expired", "0" * 64])
def test_a_bad_token_is_told_in_the_words_that_make_clients_sign_in_again(gis: Gis, value: str) -> None:
    answer = gis.connection.http.get(
        f"{gis.rest}community/self", params={"f": "json"}, headers={"X-Esri-Authorization": f"Bearer {value}"}
    )
    assert answer.json() == {"error": {"code": 498, "message": "Invalid Token.", "details": []}}


def test_a_missing_token_is_told_in_the_words_that_make_clients_send_one(stranger: Connection, gis: Gis) -> None:
    with pytest.raises(ClientError, match=r"^Token Required\n\(Error Code: 499\)$"):
        stranger.get(f"{gis.rest}community/self")


def test_bad_credentials_are_told_in_the_words_of_each_way(gis: Gis, stranger: Connection) -> None:
    form = {"username": "bob", "password": "wrong", "referer": "http", "client": "referer", "expiration": "60"}
    with pytest.raises(ClientError, match=r"Unable to generate token\.(.|\n)*\(Error Code: 400\)"):
        stranger.post(f"{gis.rest}generateToken", **form)
    state = gis._authorize("token", gis._redirect_uri, "S")["oauth_state"]
    page = gis._give_password(state, "bob", "wrong")
    assert page.status_code == 200
    assert re.search(r'var oAuthInfo = \{"messages": ?\["Invalid username or password\."\]', page.text)


def test_a_name_that_is_taken_is_not_available(gis: Gis, trees: Item) -> None:
    asked = {"name": trees["name"], "type": "Feature Service"}
    assert gis.connection.post(f"{gis.rest}portals/self/isServiceNameAvailable", **asked) == {"available": False}


def test_a_wrong_query_of_a_layer_is_a_value_error(gis: Gis, trees: Item) -> None:
    with pytest.raises(ValueError, match="message"):
        FeatureLayer(gis, f"{trees['url']}/0").query("1 = ")


def test_a_token_that_a_server_shows_is_given_again(gis: Gis, stranger: Connection, server: LiveServer) -> None:
    shown = {"token": server.tokens["ann"], "serverURL": server.url, "request": "getToken"}
    for ask in (stranger.get, stranger.post):
        assert ask(f"{gis.rest}generateToken", **shown)["token"] == server.tokens["ann"]


@pytest.mark.parametrize(("minutes", "taken"), [(9, True), (11, False)])
def test_a_token_is_taken_ten_minutes_beyond_its_expiry(
    gis: Gis, stranger: Connection, server: LiveServer, minutes: int, taken: bool
) -> None:
    form = {"username": "ann", "password": PASSWORD, "client": "referer", "referer": "http", "expiration": "60"}
    given = stranger.post(f"{gis.rest}generateToken", **form)
    assert given["ssl"] is True
    earlier = given["expires"] - (60 + minutes) * 60_000
    with closing(sqlite3.connect(server.data / "portal.sqlite")) as database, database:
        digest = hashlib.sha256(given["token"].encode()).hexdigest()
        database.execute("UPDATE tokens SET expires_ms = ? WHERE sha256 = ?", (earlier, digest))
    headers = {"X-Esri-Authorization": f"Bearer {given['token']}"}
    answer = stranger.http.get(f"{gis.rest}community/self", params={"f": "json"}, headers=headers).json()
    assert ("error" not in answer) == taken


# Every route, as anybody


def _addresses() -> list[str]:
    found = re.findall(r"(?m)^\| `(/(?:arcgis|portal)[^`]*)` \| ([A-Z ]+) \|", ROUTES.read_text())
    # What ends a token or a session is asked in the tests of signing in.
    skipped = ("signout", "revokeToken", "/login", "/logout", "/static/{name}")
    return [path for path, methods in found if "POST" in methods and not path.endswith(skipped)]


def _filled(path: str) -> str:
    words = {"{user}": "ann", "{layer}": "0", "{name}": "found_trees", "{task}": "CopyRaster"}
    for word, value in words.items():
        path = path.replace(word, value)
    return re.sub(r"\{\w+\}", "0" * 32, path)


@pytest.mark.parametrize("who", ["stranger", "expired", "bob"])
def test_no_route_answers_with_a_status_that_clients_repeat(
    server: LiveServer, request: pytest.FixtureRequest, trees: Item, who: str
) -> None:
    connection: Connection = request.getfixturevalue(who)
    addresses = _addresses()
    assert len(addresses) > 150
    for path in addresses:
        for method in ("GET", "POST"):
            sent = {"headers": {"X-Esri-Authorization": f"Bearer {connection.token}"} if connection.token else {}}
            sent["params" if method == "GET" else "data"] = {"f": "json"}
            answer = connection.http.request(method, server.url + _filled(path), **sent)
            _is_harmless(answer, f"{method} {path} as {who}")


def _is_harmless(answer: httpx.Response, said: str) -> None:
    assert answer.status_code not in RETRIED, said
    assert answer.status_code in (200, 302, 303, 405), (said, answer.status_code)
    assert answer.status_code != 405 or "signin" in said, said
    assert not {"www-authenticate", "set-cookie"} & set(answer.headers), said
    if "json" not in answer.headers.get("content-type", ""):
        return
    document = answer.json()
    code = document.get("error", {}).get("code") if isinstance(document, dict) else None
    assert code != 500, (said, document)
    if code not in (498, 499):
        assert not WORDS.search(answer.text), (said, answer.text[:300])


@pytest.mark.parametrize("path", ["/portal/info", "/portal/rest/info", "/portal/rest/services"])
def test_addresses_that_are_only_tried_ask_nobody_to_sign_in(
    server: LiveServer, stranger: Connection, path: str
) -> None:
    answer = stranger.http.get(server.url + path, params={"f": "json"})
    assert answer.status_code == 404
    assert not {"www-authenticate", "set-cookie"} & set(answer.headers)


def test_a_job_that_fails_for_a_bad_token_does_not_say_the_words(analytics: Analytics, trees: Item) -> None:
    url = analytics.copy_raster("/rasterStores/s/before.tif", "for a token")["url"]
    tools = analytics.tools
    bob = submit_job(tools.connection, tools.url, "CopyRaster", {
        "inputRaster": {"url": f"{url}?token=expired", "serviceToken": "expired"}, "outputName": "by_a_token",
    })  # fmt: skip
    job = f"{tools.url}/CopyRaster/jobs/{bob}"
    while (document := tools.connection.get(job))["jobStatus"] in RUNNING:
        pass
    assert not WORDS.search(json.dumps(document))


def test_no_portal_of_ours_is_taken_for_arcgis_online(gis: Gis) -> None:
    assert gis.name != "ArcGIS Online"
    assert gis.properties["portalMode"] == "singletenant"
    assert gis.properties.get("portalDeploymentType") != "ArcGISEnterpriseOnKubernetes"
    assert "arcgis.com" not in gis.toolbox_url
