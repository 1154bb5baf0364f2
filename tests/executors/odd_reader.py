"""An answerer that echoes, refuses, breaks, crashes and hangs."""

from __future__ import annotations

import os
import signal

from raster_analysis import errors
from raster_analysis.question import Answerer, Content, Question


def open_answerer() -> Answerer:
    return answer


def answer(question: Question) -> Content:
    text = str(question.arguments.get("text", ""))
    if question.name == "refuse":
        raise getattr(errors, str(question.arguments["error"]))(
            [text] if question.arguments["error"] == "ParameterError" else text
        )
    if question.name == "break":
        raise OSError(f"cannot open {text}")
    if question.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if question.name == "hang":
        signal.pause()
    if question.name == "pid":
        return Content(str(os.getpid()).encode())
    return Content(text.encode(), str(question.arguments["type"]))
