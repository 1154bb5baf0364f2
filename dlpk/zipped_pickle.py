"""The pickles inside a torch file, which is itself a ZIP archive."""

from __future__ import annotations

import io
from typing import BinaryIO

from dlpk.errors import PackageRefused
from dlpk.pickles import MAX_PICKLE_BYTES, imports_of
from dlpk.zip_layout import ZipMember, stream_member
from dlpk.zip_records import Directory, Header, read_local

_DEFLATED = 8


def imports_of_zipped_pickles(file: BinaryIO, directory: Directory) -> tuple[str, ...]:
    """Give what all `.pkl` members would import, sorted.

    Raises:
        ValueError: One of them is too large or cannot be read.
    """
    names: set[str] = set()
    # Torch reads data.pkl; others may hide in sub-folders.
    for header in directory.headers:
        if header.name.lower().endswith(b".pkl"):
            names |= set(imports_of(io.BytesIO(_read(file, header)), streams=1))
    return tuple(sorted(names))


def _read(file: BinaryIO, header: Header) -> bytes:
    if header.size > MAX_PICKLE_BYTES or header.method not in {0, _DEFLATED} or header.flags & 1:
        raise ValueError(f"{header.size} bytes by method {header.method}")
    try:
        data_at = read_local(file, header).offset
        name = header.name.decode("utf-8", "replace")
        member = ZipMember(name, header.size, header.packed, header.crc, header.method == _DEFLATED, data_at)
        return b"".join(stream_member(file, member))
    except PackageRefused as refusal:
        raise ValueError(refusal.findings[0].message) from None
