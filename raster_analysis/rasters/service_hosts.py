"""Servers whose images may be fetched: the administrator's list, and the one reading of a URL.

Pure Python: the server process asks it when a job is bound, the slot again before every connection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from raster_analysis.errors import InputError

_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]"
# Only what both parts of every URL library read the same way: no user info, no backslash, nothing beyond ASCII.
_URL = re.compile(rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?(/[a-z0-9_.~%+/-]*)?(\?[!-~]*)?", re.IGNORECASE)
_ENTRY = re.compile(rf"(?:(https?)://)?({_HOST})(?::([0-9]{{1,5}}))?/?", re.IGNORECASE)
_SERVICE = re.compile(r"/(?:[^/]+/)+ImageServer/?")
_PORTS = {"https": 443, "http": 80}
_TRANSLATED = tuple(ipaddress.IPv6Network(of) for of in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"))
"""Addresses that a gateway or an old stack turns into IPv4; of the last, `::` and `::1` stand for themselves."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out: `is_global` says yes to much else."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """A URL as it was read once; nothing reads its text again."""

    scheme: str
    host: str
    """Lower case; IPv6 without brackets."""
    port: int
    path: str
    query: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what a server is known by."""
        return self.scheme, self.host, self.port

    @property
    def text(self) -> str:
        """Return the URL without its query, which may hold a token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class ServiceHosts:
    """Origins that the administrator allows."""

    public: frozenset[tuple[str, str, int]] = frozenset()
    """These must have addresses of the public internet."""
    private: frozenset[tuple[str, str, int]] = frozenset()
    """These may have addresses of a private network and of this machine."""

    @classmethod
    def of(cls, public: Iterable[str], private: Iterable[str]) -> ServiceHosts:
        """Read a list of `host`, `host:port` (TLS) or `http://host:port`; raises InputError for anything else."""
        return cls(frozenset(map(_read_entry, public)), frozenset(map(_read_entry, private)))

    def allow(self, url: ServiceUrl) -> bool:
        """Tell whether the server is on the list, by scheme, name and port."""
        return url.origin in self.public or url.origin in self.private

    def allow_address(self, url: ServiceUrl, address: str) -> bool:
        """Tell whether a server may be reached at an address that its name stands for."""
        try:
            inner = _innermost(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        given_out = inner.version == 4 or inner in _UNICAST
        if inner.is_global and given_out and not inner.is_multicast:
            return True
        # Link-local is never a server of images, but where clouds keep their credentials.
        usable = not (inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner.is_reserved)
        return usable and inner not in _METADATA and url.origin in self.private


NO_HOSTS = ServiceHosts()


def read_url(text: str) -> ServiceUrl:
    """Return the parts of an http or https URL; raises InputError for every spelling that is not plain."""
    match = _URL.fullmatch(text) if len(text) <= 2000 else None
    parts = match and _parts(*match.group(1, 2, 3))
    path = (match and match[4]) or "/"
    if match is None or parts is None or ".." in path or "//" in path or "%2f" in path.lower():
        raise InputError(f"{_shown(text)!r} is no usable http or https URL")
    return ServiceUrl(*parts, path=path, query=(match[5] or "")[1:])


def read_service_url(text: str) -> ServiceUrl:
    """Return the parts of the URL of an image service, with no query but a token's; raises InputError."""
    url = read_url(text)
    if not _SERVICE.fullmatch(url.path):
        raise InputError(f"{url.text!r} is no image service; its path ends in /ImageServer")
    return ServiceUrl(url.scheme, url.host, url.port, url.path.rstrip("/"), url.query)


def token_of(url: ServiceUrl) -> str | None:
    """Return the token in a URL's query."""
    return next(iter(parse_qs(url.query).get("token", [])), None)


_METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
"""Credentials of clouds at addresses that are not link-local."""


def _innermost(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address wraps, in whichever way."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _TRANSLATED) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _read_entry(entry: str) -> tuple[str, str, int]:
    match = _ENTRY.fullmatch(entry.strip())
    parts = match and _parts(match[1] or "https", match[2], match[3])
    if parts is None:
        raise InputError(f"{entry!r} names no server; want host, host:port or http://host:port")
    return parts


def _parts(scheme: str, host: str, port: str | None) -> tuple[str, str, int] | None:
    number = int(port) if port else _PORTS[scheme.lower()]
    name = host.lower().strip("[]")
    if ":" in name:
        try:
            name = str(ipaddress.IPv6Address(name))
        except ValueError:
            return None
    return (scheme.lower(), name, number) if 0 < number < 65536 else None


def _shown(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0][:200]
