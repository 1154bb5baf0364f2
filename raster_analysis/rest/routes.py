"""The table of routes: every address of the server, and what it asks of its caller."""

from __future__ import annotations

from collections.abc import Iterable

from raster_analysis.rest.endpoint import Endpoint

_HEAD = """# Routes

Every route of the server with its access rule, made from the routes themselves by
`python tests/rest/write_routes.py`; a test compares. What each rule means is in [rest.md](rest.md#who-may-call).
*Changes* marks what a signed-in page may only do with its form's token. All routes of `/portal/sharing` answer at
`/sharing` too.

| route | methods | rule | changes |
|---|---|---|---|
"""


def routes_table(endpoints: Iterable[Endpoint]) -> str:
    """Return the page that lists the routes; those at the root that repeat the portal's are left out."""
    shown = [endpoint for endpoint in endpoints if not endpoint.path.startswith("/sharing/")]
    rows = (_row(endpoint) for endpoint in sorted(shown, key=lambda endpoint: endpoint.path))
    return _HEAD + "\n".join(dict.fromkeys(rows)) + "\n"


def _row(endpoint: Endpoint) -> str:
    changes = "yes" if endpoint.changes else ""
    return f"| `{endpoint.path}` | {' '.join(endpoint.methods)} | {endpoint.policy} | {changes} |"
