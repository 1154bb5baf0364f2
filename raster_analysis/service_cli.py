"""The commands around a data folder: serve it, work through its jobs, run one tool, users and tokens, the demo."""

from __future__ import annotations

import difflib
import importlib
import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from raster_analysis.app import Rooms, open_rooms, serve
from raster_analysis.composite import parse_composite
from raster_analysis.errors import AccessError, ParameterError
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.portal import Settings as PortalSettings
from raster_analysis.portal.users import Role
from raster_analysis.progress import INTERRUPTED, show_progress
from raster_analysis.settings import Settings, describe_settings
from raster_analysis.tool import Kind, Tool
from raster_analysis.tools import TOOLS
from raster_analysis.user_errors import user_errors

POLL_S = 0.2
_FILE_KINDS = (Kind.RASTER, Kind.MODEL, Kind.PACKAGE, Kind.FEATURES)
LOCAL_USER = "admin"

data_option = click.option("--data", type=click.Path(path_type=Path), help="Data folder; ./data when not given.")
store_option = click.option(
    "--store", "stores", multiple=True, metavar="NAME=PATH", help="A folder that requests may name; may be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SETTINGS = f"\b\nAll settings, from the environment, with their defaults:\n{describe_settings()}"
"""Unwrapped, as click's mark at its beginning says."""


@click.command("serve", epilog=_SETTINGS)
@click.option("--host", help="Address to listen on; 127.0.0.1 when not given.")
@click.option("--port", type=int, help="8443 when not given.")
@click.option("--http", is_flag=True, default=None, help="Plain HTTP, for use behind a proxy.")
@data_option
@store_option
def serve_command(stores: tuple[str, ...], **options: Any) -> None:
    """Serve the portal and the geoprocessing tools until told to stop."""
    with user_errors():
        settings = make_settings(stores, options)
        _add_first_administrator(settings)
        click.echo(f"Services directory: {settings.public_url}/arcgis/rest/services")
        click.echo(f"Portal:             {settings.public_url}/portal")
        serve(settings)


@click.command("worker")
@data_option
@store_option
def worker_command(stores: tuple[str, ...], **options: Any) -> None:
    """Work through the jobs that wait in a data folder, with no HTTP service, and end when none is left."""
    with user_errors(), _open(make_settings(stores, options)) as rooms:
        waiting = [job.id for job in rooms.store.unfinished()]
        for job_id in waiting:
            job = _watch(rooms, job_id, quiet=False)
            click.echo(f"{job.id} {job.tool} {job.status.value}")


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("tool", metavar="TOOL")
@data_option
@store_option
@json_option
@click.pass_context
def run_command(
    context: click.Context, /, tool: str, *, stores: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Run one geoprocessing tool: raster-analysis run TOOL [--PARAM VALUE]...

    TOOL and PARAM are the names of the REST service, e.g.
    run PublishDeepLearningModel --modelLocation trees.dlpk --outputName Trees.
    Items and jobs are kept in the data folder. `run list` lists the tools.
    """
    with user_errors():
        if tool == "list":
            _list_tools(as_json=as_json)
            return
        declared = _find_tool(tool)
        form = match_parameters(declared, parse_extra(context.args))
        declared.parse(form)
        form, folders = share_local_files(declared, form)
        settings = make_settings((*stores, *folders), options)
        _add_first_administrator(settings, quiet=True)
        with _open(settings) as rooms:
            job = _watch(rooms, rooms.dispatcher.submit(declared.name, form, LOCAL_USER).id, quiet=as_json)
    _print_job(job, as_json=as_json)
    sys.exit({JobStatus.SUCCEEDED: 0, JobStatus.CANCELLED: INTERRUPTED}.get(job.status, 1))


@click.group("users")
def users_command() -> None:
    """Manage the users of a portal."""


@users_command.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.PUBLISHER.value)
@click.option("--password", help="Made up and printed when not given.")
@data_option
@json_option
def add_user(name: str, role: str, *, password: str | None, data: Path | None, as_json: bool) -> None:
    """Add a user."""
    password = password or secrets.token_urlsafe(15)
    with user_errors(), _portal(data) as portal:
        portal.users.add(name, password, Role(role))
    made = {"name": name, "role": role, "password": password}
    click.echo(json.dumps(made) if as_json else f"{role} {name} added; password: {password}")


@click.command("token")
@click.argument("name")
@click.option("--minutes", type=click.IntRange(1, 20160), default=60, show_default=True)
@data_option
@json_option
def token_command(name: str, *, minutes: int, data: Path | None, as_json: bool) -> None:
    """Print a new token of a user."""
    with user_errors(), _portal(data) as portal:
        token = portal.tokens.issue(name, minutes * 60)
    click.echo(json.dumps({"token": token.value, "expires": token.expires_ms}) if as_json else token.value)


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@json_option
def demo_command(out: Path, *, as_json: bool) -> None:
    """Publish two models, detect objects and classify pixels through REST, and draw what was found."""
    demo = importlib.import_module("raster_analysis.demo")  # brings GDAL, which `serve` must keep out
    with user_errors():
        made = demo.run_demo(out, quiet=as_json)
    click.echo(json.dumps([str(path) for path in made]) if as_json else "Results:")
    for path in [] if as_json else made:
        click.echo(f"  {path}")


COMMANDS = (serve_command, worker_command, run_command, users_command, token_command, demo_command)


def make_settings(stores: tuple[str, ...], options: Mapping[str, Any]) -> Settings:
    """Return settings in which the command line wins over the environment."""
    given = {name: value for name, value in options.items() if value is not None}
    if stores:
        given["stores"] = {**Settings().stores, **dict(parse_store(text) for text in stores)}
    return Settings(**given)


def parse_store(text: str) -> tuple[str, Path]:
    """Return name and folder of `NAME=PATH`; raises ParameterError when it is not that or not a folder."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ParameterError([f"--store {text!r} is not NAME=PATH"])
    if not Path(folder).is_dir():
        raise ParameterError([f"--store {text!r}: there is no folder {folder!r}"])
    return name, Path(folder).resolve()


def parse_extra(arguments: list[str]) -> dict[str, str]:
    """Return `--name value` and `--name=value` pairs; raises ParameterError for anything else."""
    pairs: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            raise ParameterError([f"{argument!r} is not --PARAM VALUE"])
        following = value if equals else next(rest, None)
        if following is None:
            raise ParameterError([f"{name} has no value"])
        pairs[name.removeprefix("--")] = following
    return pairs


def match_parameters(tool: Tool[Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return the form under the tool's own names, compared without case and hyphens.

    Raises ParameterError for names that the tool does not have: over REST they are ignored, as clients of newer
    servers need it, but on a command line they are typing errors.
    """
    names = {name.lower(): name for name in [*(info.name for info in tool.describe()), *tool.synonyms]}
    form, faults = {}, []
    for name, value in given.items():
        plain = name.replace("-", "").lower()
        if plain in names:
            form[names[plain]] = value
            continue
        close = difflib.get_close_matches(plain, names, n=1)
        faults.append(f"--{name} does not exist" + (f" (did you mean --{names[close[0]]}?)" if close else ""))
    if faults:
        own = ", ".join(f"--{info.name}" for info in tool.describe()) or "no parameters"
        raise ParameterError([*faults, f"{tool.name} takes {own}"])
    return form


def share_local_files(tool: Tool[Any], form: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the form with local files named through stores, and those stores as NAME=PATH.

    The tools know items and stores only; on one's own machine a path is what one has. Raises ParameterError for
    a path that leads nowhere.
    """
    kinds = {info.name: info.kind for info in tool.describe()}
    shared: dict[str, Any] = dict(form)
    stores: list[str] = []
    faults = []
    for name, value in form.items():
        if kinds.get(name) not in _FILE_KINDS or not _may_be_local(value):
            continue
        path = Path(value).expanduser().absolute()
        if not path.exists():
            faults.append(f"--{name} {value!r} was not found; give a file, an item id, a URL or a store path")
            continue
        store = f"local{len(stores)}"
        stores.append(f"{store}={path.parent}")
        shared[name] = f"/fileShares/{store}/{quote(path.name)}"
    if faults:
        raise ParameterError(faults)
    return shared, stores


def _may_be_local(value: str) -> bool:
    named = parse_composite(value)
    uri = named.get("uri") if isinstance(named, dict) and not value.lstrip().startswith("{") else None
    return isinstance(uri, str) and not uri.startswith(("/fileShares/", "/rasterStores/"))


def _find_tool(name: str) -> Tool[Any]:
    tools = {tool.lower(): tool for tool in TOOLS}
    found = tools.get(name.lower())
    if found is None:
        close = difflib.get_close_matches(name.lower(), tools, n=1, cutoff=0.5)
        meant = f" (did you mean {tools[close[0]]}?)" if close else ""
        raise ParameterError([f"there is no tool {name!r}{meant}; `raster-analysis run list` lists them"])
    return TOOLS[found]


def _list_tools(*, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({name: [p.name for p in tool.describe()] for name, tool in TOOLS.items()}))
        return
    for name, tool in TOOLS.items():
        click.echo(f"{name}: {tool.help}")
        for info in tool.describe():
            click.echo(f"  --{info.name}{'' if info.required else ' (optional)'}: {info.help}")


@contextmanager
def _open(settings: Settings) -> Iterator[Rooms]:
    rooms = open_rooms(settings)
    try:
        rooms.dispatcher.start()
        yield rooms
    finally:
        rooms.close()


@contextmanager
def _portal(data: Path | None) -> Iterator[Portal]:
    settings = make_settings((), {"data": data})
    portal = Portal(PortalSettings(settings.data, settings.public_url))
    try:
        yield portal
    finally:
        portal.close()


def _add_first_administrator(settings: Settings, *, quiet: bool = False) -> None:
    with _portal(settings.data) as portal:
        password = portal.users.add_first_administrator()
    if password and not quiet:
        click.echo(f"First start: user admin, password {password} (shown once)")


def _watch(rooms: Rooms, job_id: str, *, quiet: bool) -> Job:
    """Show a job until it ends; Ctrl-C cancels it."""
    shown = 0
    with show_progress(job_id, quiet=quiet) as reporter:
        while (job := rooms.dispatcher.get(job_id)) is not None:
            for message in job.messages[shown:]:
                reporter.message(message.text, message.level)
            shown = len(job.messages)
            reporter.progress(job.progress)
            if job.status.is_final:
                return job
            if reporter.interrupted:
                rooms.dispatcher.cancel(job_id)
            time.sleep(POLL_S)
    raise AccessError(f"job {job_id} is not there any more")


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        messages = [message.text for message in job.messages]
        outcome = {"jobId": job.id, "status": job.status.value, "outputs": job.outputs, "messages": messages}
        click.echo(json.dumps(outcome))
        return
    for name, value in job.outputs.items():
        click.echo(f"{name}: {json.dumps(value)}")
