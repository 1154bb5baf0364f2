"""The reader process: `python -m raster_analysis.executors.reader FD PARENT ENTRY`, started by `readers.py` only.

`ENTRY` names what opens the answerer, `module:function`. A reader answers one question after the other; it keeps
nothing that matters and may be killed at any time.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from raster_analysis.errors import RasterAnalysisError
from raster_analysis.question import QUESTION, Answerer, Content

READY = b"ready"
"""A reader's first frame."""

_PARENT_CHECK_S = 0.5
_LOG = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Answer questions on an inherited socket until the server is gone."""
    descriptor, parent, entry = int(arguments[0]), int(arguments[1]), arguments[2]
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s reader {os.getpid()} %(name)s: %(message)s")
    module, _, name = entry.partition(":")
    opener: Callable[[], Answerer] = getattr(importlib.import_module(module), name)
    _answer_all(Connection(descriptor), opener())


def _answer_all(pipe: Connection, answer: Answerer) -> None:
    try:
        pipe.send_bytes(READY)
        while True:
            for frame in _answer(answer, pipe.recv_bytes()):
                pipe.send_bytes(frame)
    except (EOFError, OSError):
        _LOG.info("the server is gone")


def _answer(answer: Answerer, frame: bytes) -> tuple[bytes, bytes]:
    """Return the two frames of an answer: what it is, and its bytes."""
    try:
        content = answer(QUESTION.validate_json(frame))
    except RasterAnalysisError as error:
        return _refuse(type(error).__name__, str(error))
    except MemoryError:
        return _refuse("BudgetError", "the answer does not fit into memory; ask for less")
    except Exception:  # noqa: BLE001 - one bad file must not cost the process
        # The text of an unforeseen error may hold paths of the server: it goes to the log only.
        _LOG.exception("a question failed")
        return _refuse("JobError", "the layer cannot be read; the server's log says why")
    return _describe(content)


def _describe(content: Content) -> tuple[bytes, bytes]:
    return json.dumps({"media_type": content.media_type}).encode(), content.data


def _refuse(error: str, message: str) -> tuple[bytes, bytes]:
    return json.dumps({"error": error, "message": message}).encode(), b""


def _end_with(parent: int) -> None:
    # Polled: the kernel's parent-death signal follows the thread that started us, and those come and go.
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
