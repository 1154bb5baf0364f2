"""Multipart forms: files go straight to the data volume, text stays in memory, and both are counted as they come."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from raster_analysis.portal.uploads import Incoming, Received, Uploads
from raster_analysis.rest.envelope import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FIELDS = 200
"""Far above the parameters of any task (guess)."""
_MOST_FILES = 20
"""Clients send four with one item at most (contract 4.1)."""
_LONGEST_BOUNDARY = 70
"""RFC 2046 5.1.1; python-multipart takes any, and looks for it at every byte."""
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that came with a form, on the data volume as long as the request lasts."""

    filename: str
    file: Received


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)
    incoming: Incoming | None = None


class MultipartForm:
    """A form that is fed piece by piece. Its files stay until it is closed."""

    def __init__(self, content_type: str, uploads: Uploads, *, text_limit: int) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: dict[str, UploadedFile] = {}
        self._uploads = uploads
        self._text_left = text_limit
        self._text_limit = text_limit
        self._parts = 0
        self._part = _Part()
        self._header = b""
        self._value = b""
        self._is_whole = False
        self._open = ExitStack()
        self._parser = MultipartParser(_boundary(content_type), self._callbacks())

    def close(self) -> None:
        """Remove the files."""
        self._open.close()

    def feed(self, data: bytes) -> None:
        """Take a piece of the body; raises Refusal for what is no form or too much of one."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Refusal(400, f"The form cannot be read: {str(error)[:200]}.") from None

    def finish(self) -> None:
        """Take the end of the body; raises Refusal when it came too early."""
        if not self._is_whole:
            raise Refusal(400, "The form cannot be read: it ends before its last boundary.")

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._take_header,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_FIELDS + _MOST_FILES:
            raise Refusal(400, f"The form has more than {MOST_FIELDS + _MOST_FILES} parts.")
        self._part = _Part()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._part.headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise Refusal(400, "The form cannot be read: a part has no name in its Content-Disposition.")
        self._part.name = _text(options[b"name"])[:_LONGEST_NAME]
        if b"filename" in options:
            self._part.filename = _text(options[b"filename"])[:_LONGEST_NAME]
            self._part.incoming = self._open.enter_context(self._uploads.begin())

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.incoming is not None:
            self._part.incoming.write(memoryview(data)[start:end])
            return
        # Together, not each: two hundred fields of the largest size would be held in memory.
        self._text_left -= end - start
        if self._text_left < 0:
            raise Refusal(413, f"The fields of the form are larger than the {self._text_limit:,} bytes allowed.")
        self._part.data += data[start:end]

    def _end_part(self) -> None:
        part = self._part
        if part.incoming is None:
            self.texts.append((part.name, _text(part.data)))
            return
        part.incoming.close()
        # A browser sends a file field that was left empty as a file without name and content.
        if part.filename or part.incoming.size:
            received = self._open.enter_context(Received(part.incoming.path))
            self.files[part.name] = UploadedFile(part.filename or "", received)

    def _end(self) -> None:
        self._is_whole = True


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise Refusal(400, f"The form cannot be read: its boundary must have 1 to {_LONGEST_BOUNDARY} characters.")
    return boundary


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
