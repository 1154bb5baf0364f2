"""The code of a page of the documentation, and what the page shows of its output."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "@@@ block {} has ended @@@"
TIMEOUT_S = 180


@dataclass(frozen=True)
class Block:
    """One fenced block of code, and the `text` block that follows it, if one does."""

    code: str
    shown: str | None

    def fault(self, output: str) -> str | None:
        """Say how the output differs from what the page shows; `...` in a page stands for anything."""
        if self.shown is None:
            return None
        pattern = re.escape(self.shown.strip()).replace(re.escape("..."), ".*?")
        if re.fullmatch(pattern, output.strip(), re.DOTALL):
            return None
        return f"the page says of\n{self.code}\nthat it prints\n{self.shown}\nbut it prints\n{output}"


def read_blocks(page: str, language: str) -> list[Block]:
    """Return a page's blocks of code in a language, in their order."""
    fenced = [(match["language"], match["text"]) for match in _FENCED.finditer(page)]
    following = [*fenced[1:], ("", "")]
    return [
        Block(text, after if kind_after == "text" else None)
        for (kind, text), (kind_after, after) in zip(fenced, following, strict=True)
        if kind == language
    ]


def play_shell(blocks: Sequence[Block], folder: Path, environment: Mapping[str, str]) -> None:
    """Run blocks as one bash script that ends at the first command that fails; fails where an output differs."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks):
        lines += [block.code, f"printf '\\n%s\\n' '{_MARK.format(number)}'"]
    _compare(blocks, ["bash", "-c", "\n".join(lines)], folder, environment)


def play_python(blocks: Sequence[Block], command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run blocks as one script of an interpreter, `command`; fails where an output differs."""
    lines = []
    for number, block in enumerate(blocks):
        lines += [block.code, f"print(); print('{_MARK.format(number)}', flush=True)"]
    _compare(blocks, [*command, "\n".join(lines)], folder, environment)


def _compare(blocks: Sequence[Block], command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outputs = list(_split(done.stdout, len(blocks)))
    faults = [fault for block, output in zip(blocks, outputs, strict=True) if (fault := block.fault(output))]
    assert not faults, "\n\n".join(faults)


def _split(output: str, count: int) -> Iterator[str]:
    for number in range(count):
        before, mark, output = output.partition(_MARK.format(number))
        assert mark, f"block {number} did not end: {before}"
        yield before
