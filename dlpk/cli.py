"""The command `dlpk`: check, info, build and unpack."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import JsonValue, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlpk.build import ModelOptions, build
from dlpk.definition import ClassEntry, ModelType, class_values
from dlpk.errors import DlpkError, PackageRefused
from dlpk.extension import Decoder, Extension, NetworkOutput
from dlpk.findings import Finding, Severity, errors_of
from dlpk.package import Package, Report, check_package, open_package

EXIT_REFUSED = 1
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

path_argument = click.argument("path", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raster-analysis")
def main() -> None:
    """Check, describe, build and unpack deep learning packages: a .dlpk, a folder, or a .emd beside its files."""


@main.command()
@path_argument
@json_option
def check(path: Path, *, as_json: bool) -> None:
    """Check a package: exit code 0 when it is valid, 1 when it has errors."""
    report = check_package(path)
    _print_report(path.name, report, as_json=as_json)
    if not report.valid:
        sys.exit(EXIT_REFUSED)


@main.command()
@path_argument
@json_option
def info(path: Path, *, as_json: bool) -> None:
    """Describe a package: its model, classes, files and digest."""
    with _refusals(path.name, as_json=as_json):
        facts = describe(open_package(path))
    if as_json:
        _print_json(facts)
    else:
        _print_facts(facts)


@main.command("build")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--type", "model_type", type=click.Choice([kind.value for kind in ModelType]), help="ModelType, for a model file."
)
@click.option("--class", "classes", multiple=True, help="VALUE:NAME or VALUE:NAME:#RRGGBB; in the network's order.")
@click.option("--tile", type=int, default=256, show_default=True, help="Side of the tile in pixels.")
@click.option("--bands", default="0,1,2", show_default=True, help="In the network's order, as 0,1,2 or Red,Green,Blue.")
@click.option(
    "--decoder", type=click.Choice([decoder.value for decoder in Decoder]), help="How the network's output is read."
)
@click.option("--extension", type=click.Path(path_type=Path), help="JSON file with the RasterAnalysis object.")
@click.option("--name", help="ModelName.")
@click.option("--set", "keys", multiple=True, help="Further key, as KEY=JSON.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
def build_command(source: Path, out: Path, *, force: bool, as_json: bool, **options: Any) -> None:
    """Build OUT from SOURCE: a folder with a .emd, or a model file with options."""
    with _refusals(source.name, as_json=as_json):
        report = build(source, out, _model_options(**options), replace=force)
    _print_report(out.name, report, as_json=as_json)


@main.command()
@path_argument
@click.argument("folder", type=click.Path(path_type=Path))
def unpack(path: Path, folder: Path) -> None:
    """Unpack a valid package into a new folder."""
    with _refusals(path.name, as_json=False):
        try:
            open_package(path).extract(folder)
        except OSError as fault:
            raise click.UsageError(f"{folder.name} cannot be made: {fault.strerror}") from None


@contextmanager
def _refusals(name: str, *, as_json: bool) -> Iterator[None]:
    """Print the findings of a refused package and end with 1; any other fault is one of usage."""
    try:
        yield
    except PackageRefused as refusal:
        _print_report(name, Report(refusal.findings), as_json=as_json)
        sys.exit(EXIT_REFUSED)
    except DlpkError as fault:
        raise click.UsageError(str(fault)) from None


def _model_options(model_type: str | None, tile: int, bands: str, **options: Any) -> ModelOptions | None:
    if model_type is None:
        return None
    return ModelOptions(
        model_type=ModelType(model_type),
        classes=tuple(_parse_class(text) for text in options["classes"]),
        image_height=tile,
        image_width=tile,
        extract_bands=tuple(int(band) if band.strip().isdigit() else band.strip() for band in bands.split(",")),
        extension=_read_extension(options["extension"], options["decoder"]),
        name=options["name"],
        keys=dict(_parse_key(text) for text in options["keys"]),
    )


def describe(package: Package) -> dict[str, JsonValue]:
    """Give the facts about a package as plain data."""
    definition = package.definition
    values, rule = class_values(definition)
    listed: list[JsonValue] = [{"Value": entry.value, "Name": entry.name} for entry in definition.classes]
    return {
        "modelName": definition.model_name,
        "modelType": definition.model_type,
        "modelFile": package.model_name,
        "modelKind": package.weights.kind if package.weights else None,
        "function": package.function_name if package.runs_function else None,
        "tile": [definition.image_height, definition.image_width],
        "bands": list(definition.extract_bands),
        "classes": listed,
        "classValues": list(values),
        "classRule": rule,
        "holdsCode": package.holds_code,
        "digest": package.digest,
        "files": [{"name": member.name, "size": member.size} for member in package.members],
        "findings": [dict(finding.as_dict()) for finding in package.findings],
    }


def _parse_class(text: str) -> ClassEntry:
    value, _, rest = text.partition(":")
    name, mark, color = rest.rpartition(":#")
    try:
        if not mark:
            return ClassEntry(int(value), rest)
        red, green, blue = bytes.fromhex(color)
        return ClassEntry(int(value), name, (red, green, blue))
    except ValueError:
        raise click.UsageError(f"--class {text!r} is not VALUE:NAME or VALUE:NAME:#RRGGBB") from None


def _parse_key(text: str) -> tuple[str, JsonValue]:
    key, mark, value = text.partition("=")
    try:
        if mark:
            return key, json.loads(value)
    except ValueError:
        pass
    raise click.UsageError(f"--set {text!r} is not KEY=JSON, for instance Threshold=0.4 or 'Version=\"2026.11\"'")


def _read_extension(path: Path | None, decoder: str | None) -> Extension | None:
    try:
        extension = Extension.model_validate_json(path.read_bytes()) if path else None
    except (OSError, ValidationError) as fault:
        raise click.UsageError(f"--extension cannot be read: {fault}") from None
    if decoder is None:
        return extension
    output = NetworkOutput(decoder=Decoder(decoder))
    return extension.model_copy(update={"output": output}) if extension else Extension(output=output)


def _print_report(name: str, report: Report, *, as_json: bool) -> None:
    if as_json:
        _print_json(report.as_dict())
        return
    console = Console()
    for finding in report.findings:
        _print_finding(console, finding)
    count = len(errors_of(report.findings))
    verdict = "valid" if count == 0 else f"refused, {count} error{'s' * (count > 1)}"
    console.print(f"{escape(name)}: {verdict}", highlight=False, soft_wrap=True)


def _print_finding(console: Console, finding: Finding) -> None:
    style = _STYLES[finding.severity]
    hint = f"\n    {escape(finding.hint)}" if finding.hint else ""
    title = f"[{style}]{finding.severity:<8}[/] {finding.code}  {escape(finding.where)}"
    console.print(f"{title}\n    {escape(finding.message)}{hint}", highlight=False, soft_wrap=True)


def _print_facts(facts: dict[str, JsonValue]) -> None:
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(key, escape(text), style=None)
    Console().print(table)


def _print_json(value: JsonValue) -> None:
    click.echo(json.dumps(value, indent=2))
