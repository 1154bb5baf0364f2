"""The strictest ArcGIS client there is, from its description: how it connects, signs in and sends (contract 1 to 3).

It reads only the keys that such a client needs, and fails as that one fails when one of them is missing.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

Document = dict[str, Any]

RETRIED = {413, 429, 500, 502, 503, 504}
RETRIES = 5
REPEATING_WORDS = (b"token required", b"invalid token")
_INACCESSIBLE = "Item does not exist or is inaccessible"


class ClientError(Exception):
    """What a user of the client sees."""


class RetryError(Exception):
    """The server answered with a status that is tried again, every time."""


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent and answered."""

    method: str
    path: str
    form: Mapping[str, Any]
    response: httpx.Response


@dataclass
class Connection:
    """Requests of one client, with its token in the header that it uses on every host."""

    certificate: Path
    token: str | None = None
    by_oauth: bool = False
    log: list[Exchange] = field(default_factory=list)

    @cached_property
    def http(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificate))
        limits = httpx.Limits(max_connections=20)
        headers = {"User-Agent": "Geosaurus/2.4", "referer": "http"}
        return httpx.Client(verify=context, timeout=600, headers=headers, limits=limits)

    def send(
        self,
        method: str,
        url: str,
        form: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        token: bool = True,
    ) -> httpx.Response:
        """Send straight through the session: nothing is made of errors."""
        # Whatever is given, all_ssl is hard-wired (contract 1.1).
        url = re.sub("^http://", "https://", url)
        response = self._try(method, url, form, query=query, files=files, token=token and self.token is not None)
        if token and self.token and self._wants_repetition(response):
            repeated_with = self.by_oauth and b"token required" in response.content.lower()
            response = self._try(method, url, form, query=query, files=files, token=repeated_with)
        return response

    def ask(self, method: str, url: str, form: Mapping[str, Any] | None = None, **more: Any) -> Document:
        """Send the way portal requests are sent: an error envelope becomes an exception."""
        shown = {"f": "json", **(form or {})}
        sent = {"query": shown} if method == "GET" else {"form": shown}
        document = self.send(method, url, **{**sent, **more}).json()
        if "error" in document and "messages" not in document:
            error = document["error"]
            details = error.get("details") or []
            details = [details] if isinstance(details, str) else details
            raise ClientError("\n".join([error["message"], *details, f"(Error Code: {error['code']})"]))
        return document  # type: ignore[no-any-return]

    def close(self) -> None:
        self.http.close()

    def get(self, url: str, **query: Any) -> Document:
        return self.ask("GET", url, query)

    def post(self, url: str, **form: Any) -> Document:
        return self.ask("POST", url, form)

    def paths(self, since: int = 0) -> list[str]:
        """Return method and path of what was sent."""
        return [f"{each.method} {each.path}" for each in self.log[since:]]

    def _try(self, method: str, url: str, form: Mapping[str, Any] | None, **how: Any) -> httpx.Response:
        headers = {"X-Esri-Authorization": f"Bearer {self.token}"} if how["token"] else {}
        for _ in range(1 + RETRIES):
            response = self.http.request(
                method, url, data=form, params=how["query"], files=how["files"], headers=headers
            )
            path = urlsplit(str(response.request.url)).path
            self.log.append(Exchange(method, path, {**(how["query"] or {}), **(form or {})}, response))
            # Either would change the way the client signs in (contract 2.2, 3.1).
            assert not {"www-authenticate", "set-cookie"} & set(response.headers), f"{method} {path}"
            if response.status_code not in RETRIED:
                return response
        raise RetryError(f"too many {response.status_code} error responses: {method} {path}")

    def _wants_repetition(self, response: httpx.Response) -> bool:
        if self.by_oauth and 400 <= response.status_code < 500:
            return True
        words = response.content.lower()
        if not any(phrase in words for phrase in REPEATING_WORDS):
            return False
        if not self.by_oauth:
            return b"Invalid Token" in response.content
        return b"token required" in words or _is_error_or_no_json(response)


class Gis:
    """One portal with one user, or nobody."""

    def __init__(
        self,
        url: str,
        certificate: Path,
        username: str | None = None,
        password: str | None = None,
        *,
        use_gen_token: bool = False,
        token: str | None = None,
    ) -> None:
        self.connection = Connection(certificate, token)
        try:
            self._connect(url, username, password, use_gen_token=use_gen_token)
        except BaseException:
            self.connection.close()
            raise

    def _connect(self, url: str, username: str | None, password: str | None, *, use_gen_token: bool) -> None:
        self.root = re.sub(r"/home.*$", "", url).rstrip("/")
        self.rest = f"{self.root}/sharing/rest/"
        self._probe()
        if username:
            sign_in = self._generate_token if use_gen_token else self._sign_in_by_pages
            sign_in(username, password or "")
        self._check_product()
        self.properties = self.connection.get(f"{self.rest}portals/self")
        self.name = self.properties["portalName"]
        self.username: str | None = self.properties.get("user", {}).get("username")
        if self.username:
            self.user = self.connection.get(f"{self.rest}community/users/{self.username}")
            self.is_admin = any(":admin:" in privilege for privilege in self.user["privileges"])
            self.properties = self.connection.get(f"{self.rest}portals/self")

    @cached_property
    def version(self) -> list[int]:
        return [int(part) for part in self.connection.get(self.rest)["currentVersion"].split(".")]

    @property
    def toolbox_url(self) -> str:
        return str(self.properties["helperServices"]["rasterAnalytics"]["url"])

    def servers(self) -> list[Document]:
        found: list[Document] = self.connection.post(f"{self.rest}portals/self/servers")["servers"]
        return found

    def _probe(self) -> None:
        if urlsplit(self.root).path:
            probes = ("/info", "/rest/info", "/sharing/rest/info", "/rest/services")
        else:
            probes = ("/sharing/info", "/sharing/rest/info", "/sharing/sharing/rest/info", "/sharing/rest/services")
        for probe in probes:
            self.connection.send("GET", self.root + probe, query={"f": "json"}, token=False)

    def _check_product(self) -> None:
        info = self.connection.get(f"{self.rest}info")["authInfo"]
        assert info["isTokenBasedSecurity"]
        assert info["tokenServicesUrl"]

    def _generate_token(self, username: str, password: str) -> None:
        for path in ("/info", "/rest/info", "/sharing/rest/info"):
            answer = self.connection.send("GET", self.root + path, query={"f": "json"}).text
            if answer.lstrip().startswith("{") and "authInfo" in json.loads(answer):
                url = json.loads(answer)["authInfo"]["tokenServicesUrl"]
                break
        form = {"username": username, "password": password, "referer": "http", "client": "referer", "expiration": "60"}
        try:
            self.connection.token = self.connection.post(url, **form)["token"]
        except ClientError as error:
            raise ClientError(f"A general error occurred: {error}") from error

    def _sign_in_by_pages(self, username: str, password: str) -> None:
        """Follow contract 3.2; what goes wrong with a token is tried again with a code."""
        self.connection.by_oauth = True
        try:
            self._authorize("token", self._redirect_uri, "S1")
            state = self._authorize("token", self._redirect_uri, "S2")["oauth_state"]
            location = self._give_password(state, username, password).headers["location"]
            fragment = {name: values[0] for name, values in parse_qs(urlsplit(location).fragment).items()}
            assert location.startswith(self._redirect_uri)
            assert fragment["state"] == "S2"
            assert int(fragment["expires_in"]) > 300
            self.connection.token = fragment["access_token"]
        except KeyError:
            self.connection.token = self._sign_in_by_code(username, password)

    def _sign_in_by_code(self, username: str, password: str) -> str:
        outside = "urn:ietf:wg:oauth:2.0:oob"
        state = self._authorize("code", outside, "S3")["oauth_state"]
        page = self._give_password(state, username, password).text
        title = re.search("<title>SUCCESS code=(.*?)</title>", page)
        if title is None:
            told = _json_of_page(page)["messages"]
            raise ClientError(f"A general error occurred: {' '.join(told)}")
        form = {"grant_type": "authorization_code", "client_id": "pythonapi", "code": title[1], "redirect_uri": outside}
        return str(self.connection.post(f"{self.rest}oauth2/token", **form, expiration="600")["access_token"])

    @property
    def _redirect_uri(self) -> str:
        host = urlsplit(self.root)
        return f"https://{host.netloc}"

    def _authorize(self, response_type: str, redirect_uri: str, state: str) -> Document:
        query = {
            "response_type": response_type, "client_id": "pythonapi", "redirect_uri": redirect_uri, "state": state,
            "expiration": "600", "allow_verification": "false", "style": "dark", "locale": "en-US",
        }  # fmt: skip
        page = self.connection.send("GET", f"{self.rest}oauth2/authorize", query=query)
        assert page.status_code == 200
        assert "Invalid redirect_uri" not in page.text
        return _json_of_page(page.text)

    def _give_password(self, state: str, username: str, password: str) -> httpx.Response:
        form = {"expiration": "600", "oauth_state": state, "username": username, "password": password}
        answer = self.connection.send("POST", f"{self.root}/sharing/oauth2/signin", form)
        assert "OAUTH_0015" not in answer.text
        return answer


def is_inaccessible(error: ClientError) -> bool:
    """Tell whether the client takes an error for "there is no such item"."""
    return _INACCESSIBLE in str(error)


def _json_of_page(page: str) -> Document:
    line = next(line for line in page.splitlines() if re.search(r"\{.*\}", line))
    return json.loads(re.search(r"\{.*\}", line)[0])  # type: ignore[index, no-any-return]


def _is_error_or_no_json(response: httpx.Response) -> bool:
    try:
        document = response.json()
    except ValueError:
        return True
    return isinstance(document, dict) and "error" in document
