"""What a pickle would import, read from its opcodes; nothing is ever unpickled here."""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

# The pickle of a state dict has about 150 bytes a tensor; what is larger is not looked through.
MAX_PICKLE_BYTES = 16 * 2**20

# Stands for an import whose name is computed: counted as dangerous.
UNKNOWN_NAME = "?"

# A legacy torch file is five pickles in a row before its tensors.
_MAX_STREAMS = 5

# What torch itself allows under `weights_only=True` (2.10 to 2.15).
_TENSOR_NAMES = re.compile(
    r"torch\.(?:(?:cuda\.)?\w+(?:Storage|Tensor)|Size|Tensor|device|bool|b?complex\d+|bfloat16|float\w+|u?int\d+|quint\w+|qint\d+)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\.storage\.(?:Typed|Untyped)Storage|torch\.nn\.parameter\.Parameter"
    r"|collections\.(?:OrderedDict|Counter)|_codecs\.encode|(?:builtins|__builtin__)\.(?:set|bytearray|complex)"
)

_STRING_OPCODES = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING"}
)
_PUT_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET_OPCODES = frozenset({"GET", "BINGET", "LONG_BINGET"})
_NEUTRAL_OPCODES = _PUT_OPCODES | {"MEMOIZE", "FRAME"}
_EXTENSION_OPCODES = frozenset({"EXT1", "EXT2", "EXT4"})


def imports_of(file: BinaryIO, *, streams: int = _MAX_STREAMS) -> tuple[str, ...]:
    """Give every `module.name` that up to `streams` pickles in a row would import, sorted.

    Raises:
        ValueError: The bytes do not begin with a whole pickle.
    """
    names: set[str] = set()
    for number in range(streams):
        here = file.tell()
        try:
            # One by one: what a broken pickle imports before it breaks counts too.
            for name in _imports_of_one(file):
                names.add(name)
        except (ValueError, OverflowError, MemoryError, IndexError, struct.error) as fault:
            if number == 0:
                raise ValueError(f"byte {here} on: {fault}") from None
            break
    return tuple(sorted(names))


def harmful(names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the imports that are more than tensors and plain containers."""
    return tuple(name for name in names if not _TENSOR_NAMES.fullmatch(name))


def _imports_of_one(file: BinaryIO) -> Iterator[str]:
    start = file.tell()
    texts: list[str] = []
    memo: dict[int, str] = {}
    last: str | None = None
    for opcode, argument, position in pickletools.genops(file):
        if (position or start) - start > MAX_PICKLE_BYTES:
            raise ValueError(f"the pickle is larger than {MAX_PICKLE_BYTES} bytes")
        if opcode.name in {"GLOBAL", "INST"}:
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts) if len(texts) == 2 else UNKNOWN_NAME
        elif opcode.name in _EXTENSION_OPCODES:
            yield UNKNOWN_NAME
        last = _remember(opcode.name, argument, last=last, memo=memo)
        # Only two texts in immediate succession name an import; anything between may have moved the stack.
        if last is None:
            texts = []
        elif opcode.name not in _NEUTRAL_OPCODES:
            texts = [*texts[-1:], last]


def _remember(opcode: str, argument: object, *, last: str | None, memo: dict[int, str]) -> str | None:
    """Follow texts through the memo; gives the text on top of the stack, None when it is something else."""
    if opcode in _STRING_OPCODES:
        return str(argument)
    if opcode in _GET_OPCODES and isinstance(argument, (int, str)):
        return memo.get(int(argument), UNKNOWN_NAME)
    if opcode == "MEMOIZE":
        memo[len(memo)] = UNKNOWN_NAME if last is None else last
        return last
    if opcode in _PUT_OPCODES and isinstance(argument, (int, str)):
        memo[int(argument)] = UNKNOWN_NAME if last is None else last
        return last
    return last if opcode == "FRAME" else None
