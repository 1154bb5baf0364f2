"""A `torch.export` archive made safe to load.

`torch.export.load` unpickles weights, constants and sample inputs without `weights_only`, evaluates the text of
symbolic shapes and of guards, and calls whatever function of torch the graph names. So an archive is copied
in memory, and only what is known to be data goes into the copy.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raster_analysis.errors import ModelError

_MEMBERS = re.compile(
    r"(data/(weights/(weight_\d+|\w+_weights_config\.json)|constants/(tensor_\d+|\w+_constants_config\.json)"
    r"|sample_inputs/\w+\.pt)|models/\w+\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)
# Operators of torch's own tensor library, which compute on tensors; `from_file` and `save` would touch files.
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.((?!__)\w+|__(and|or|xor)__)\.(?!__)\w+|torch\.sym_\w+|(_operator|math)\.[a-z]\w*"
)
_FORBIDDEN = re.compile(
    r"torch\.ops\.aten\.(from_file|save|load|_?print|warn)\..*|_operator\.(attrgetter|itemgetter|methodcaller|call)"
)
# Values of string arguments: modes of rounding, padding, resampling and reduction, and equations of einsum.
_MODES = re.compile(
    r"none|tanh|floor|trunc|constant|reflect|replicate|circular|nearest|bilinear|bicubic|linear|mean|sum|max|min|"
    r"prod|amax|amin|right|left|ij|xy|valid|same|[A-Za-z., ]{0,40}->[A-Za-z., ]{0,40}"
)
_SYMBOL = re.compile(r"[suz]f?\d{1,6}")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|Eq|Ne|Ge|Gt|Le|Lt|Not|And|Or|"
    r"Piecewise|Where|ToFloat|FloatTrueDiv|IntTrueDiv|TruncToInt|CeilToInt|FloorToInt|RoundToInt|OpaqueUnaryFn_sqrt"
)
_NODES = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare,
          ast.operator, ast.unaryop, ast.cmpop)  # fmt: skip
_LONGEST_EXPRESSION = 2_000


def copy_safely(path: Path) -> io.BytesIO:
    """Return a copy of an archive that holds data only; raises ModelError, naming the place, when it holds more."""
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
            for member in source.infolist():
                root, _, inner = member.filename.partition("/")
                if not root or not _MEMBERS.fullmatch(inner):
                    raise ModelError(
                        f"{path.name!r} holds {member.filename[:100]!a}, which is no part of a network's data"
                    )
                target.writestr(member.filename, _clean(inner, source.read(member)))
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name!r} is not a torch.export archive: {error}") from error
    copy.seek(0)
    return copy


def _clean(name: str, content: bytes) -> bytes:
    if name.endswith("_config.json"):
        _check_payloads(json.loads(content))
    elif name.startswith("models/"):
        return _clean_program(json.loads(content))
    return content


def _check_payloads(config: Any) -> None:
    for name, entry in config["config"].items():
        if entry.get("use_pickle") is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise ModelError(f"tensor {name[:100]!a} of the exported program is a pickle, which may run code")


def _clean_program(program: Any) -> bytes:
    # Guards are source text that torch compiles. Tiles are checked against the shapes here, before they get there.
    program["guards_code"] = []
    for place in _objects(program):
        if "expr_str" in place:
            _check_expression(place["expr_str"])
        if "as_string" in place:
            _check_mode(place["as_string"])
        if "target" in place and "inputs" in place:
            _check_operator(place["target"])
    return json.dumps(program).encode()


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within a JSON value."""
    waiting = [value]
    while waiting:
        present = waiting.pop()
        if isinstance(present, dict):
            yield present
            waiting += present.values()
        elif isinstance(present, list):
            waiting += present


def _check_operator(target: object) -> None:
    if not isinstance(target, str) or not _OPERATORS.fullmatch(target) or _FORBIDDEN.fullmatch(target):
        raise ModelError(f"the exported program calls {str(target)[:100]!a}, which is not an operator on tensors")


def _check_mode(text: object) -> None:
    if not isinstance(text, str) or not _MODES.fullmatch(text):
        raise ModelError(f"the exported program holds the text {str(text)[:100]!a}, which no known operator takes")


def _check_expression(text: object) -> None:
    """Allow what shapes are made of: symbols, numbers, arithmetic and the functions of torch's shapes."""
    fault = ModelError(f"the exported program holds the shape {str(text)[:100]!a}, which is more than arithmetic")
    if not isinstance(text, str) or len(text) > _LONGEST_EXPRESSION:
        raise fault
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        raise fault from None
    if not all(_is_arithmetic(node) for node in ast.walk(tree)):
        raise fault


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and bool(_FUNCTIONS.fullmatch(node.func.id))
    if isinstance(node, ast.Name):
        return bool(_FUNCTIONS.fullmatch(node.id) or _SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        # sympify evaluates texts within texts, so only names of symbols may be quoted.
        return isinstance(node.value, (bool, int, float)) or bool(_SYMBOL.fullmatch(str(node.value)))
    return isinstance(node, _NODES)
