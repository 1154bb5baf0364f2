"""The command `dlpk`: check, info, build and unpack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
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

EXIT_REFUSED, EXIT_USAGE = 1, 2

app = typer.Typer(
    name="dlpk",
    help="Deep learning packages: check, describe, build, unpack.",
    no_args_is_help=True,
    add_completion=False,
)
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

PathArgument = Annotated[Path, typer.Argument(help="A .dlpk, a folder, or a .emd beside its files.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def check(path: PathArgument, as_json: JsonFlag = False) -> None:
    """Check a package: exit code 0 when it is valid, 1 when it has errors."""
    report = check_package(path)
    _print_report(path.name, report, as_json=as_json)
    if not report.valid:
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def info(path: PathArgument, as_json: JsonFlag = False) -> None:
    """Describe a package: its model, classes, files and digest."""
    try:
        package = open_package(path)
    except PackageRefused as refusal:
        _print_report(path.name, Report(refusal.findings), as_json=as_json)
        raise typer.Exit(EXIT_REFUSED) from None
    facts = describe(package)
    if as_json:
        _print_json(facts)
    else:
        _print_facts(facts)


@app.command("build")
def build_command(
    source: Annotated[Path, typer.Argument(help="A folder with a .emd, or a model file.")],
    out: Annotated[Path, typer.Argument(help="The .dlpk to write.")],
    model_type: Annotated[ModelType | None, typer.Option("--type", help="ModelType, for a model file.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="VALUE:NAME or VALUE:NAME:#RRGGBB; in the network's order.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Side of the tile in pixels.")] = 256,
    bands: Annotated[str, typer.Option(help="Bands in the network's order, as 0,1,2 or Red,Green,Blue.")] = "0,1,2",
    decoder: Annotated[Decoder | None, typer.Option(help="How the network's output is read.")] = None,
    extension: Annotated[Path | None, typer.Option(help="JSON file with the RasterAnalysis object.")] = None,
    name: Annotated[str | None, typer.Option(help="ModelName.")] = None,
    keys: Annotated[list[str] | None, typer.Option("--set", help="Further key, as KEY=JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build a package from a folder, or from a model file with options."""
    options = None
    if model_type is not None:
        options = ModelOptions(
            model_type=model_type,
            classes=tuple(_parse_class(text) for text in classes or []),
            image_height=tile,
            image_width=tile,
            extract_bands=tuple(int(band) if band.strip().isdigit() else band.strip() for band in bands.split(",")),
            extension=_read_extension(extension, decoder),
            name=name,
            keys=dict(_parse_key(text) for text in keys or []),
        )
    try:
        report = build(source, out, options, replace=force)
    except PackageRefused as refusal:
        _print_report(source.name, Report(refusal.findings), as_json=as_json)
        raise typer.Exit(EXIT_REFUSED) from None
    except DlpkError as fault:
        raise typer.BadParameter(str(fault)) from None
    _print_report(out.name, report, as_json=as_json)


@app.command()
def unpack(
    path: PathArgument, folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.")]
) -> None:
    """Unpack a valid package into a new folder."""
    try:
        open_package(path).extract(folder)
    except PackageRefused as refusal:
        _print_report(path.name, Report(refusal.findings), as_json=False)
        raise typer.Exit(EXIT_REFUSED) from None
    except DlpkError as fault:
        raise typer.BadParameter(str(fault)) from None
    except OSError as fault:
        raise typer.BadParameter(f"{folder.name} cannot be made: {fault.strerror}") from None


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
        raise typer.BadParameter(f"--class {text!r} is not VALUE:NAME or VALUE:NAME:#RRGGBB") from None


def _parse_key(text: str) -> tuple[str, JsonValue]:
    key, mark, value = text.partition("=")
    try:
        if mark:
            return key, json.loads(value)
    except ValueError:
        pass
    raise typer.BadParameter(f"--set {text!r} is not KEY=JSON, for instance Threshold=0.4 or 'Version=\"2026.11\"'")


def _read_extension(path: Path | None, decoder: Decoder | None) -> Extension | None:
    try:
        extension = Extension.model_validate_json(path.read_bytes()) if path else None
    except (OSError, ValidationError) as fault:
        raise typer.BadParameter(f"--extension cannot be read: {fault}") from None
    if decoder is None:
        return extension
    output = NetworkOutput(decoder=decoder)
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
    typer.echo(json.dumps(value, indent=2))
