"""The records of a ZIP file as they are written, without judging the members.

We read them ourselves because the standard library repairs what must be refused: it strips `..`, lets the last of two
equal names win, skips bytes in front, and before 3.13 lets members share bytes. Layout: APPNOTE 6.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from dlpk.errors import PackageRefused
from dlpk.findings import error

LOCAL_SIGNATURE = b"PK\x03\x04"
MAX_DIRECTORY_BYTES = 16 * 2**20

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_MARK16 = 0xFFFF
_MARK32 = 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """What a member's central or local header says; `name` is still bytes."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    """Where the local header starts; for a local header, where its data starts."""
    disk: int = 0
    attributes: int = 0
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory and where it lies."""

    headers: tuple[Header, ...]
    start: int
    """First byte of the central directory: members must fill everything before it."""


def read_directory(file: BinaryIO, *, max_entries: int) -> Directory:
    """Read the end record and the central directory of a seekable file.

    Raises:
        PackageRefused: A record is missing, contradicts another, or there are more than `max_entries` members.
    """
    size = file.seek(0, 2)
    tail_start = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    # Inner archives have end records too; the last one counts, and the layout proves it to be ours.
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _refuse("zip.truncated", "the end record is missing.", "Is the file complete? Copy or upload it again.")
    end = _END.unpack_from(tail, at)
    if at + _END.size + end[7] < len(tail):
        raise _refuse("zip.trailing", "there are bytes after the end record.", "Build the package again.")
    if at + _END.size + end[7] > len(tail):
        raise _refuse("zip.truncated", "the end record is cut off.", "Copy or upload the file again.")
    count, length, start, records_end = _directory_extent(file, end, tail_start + at)
    if count > max_entries:
        raise _refuse("zip.limit", f"the archive has {count} members; {max_entries} are allowed.")
    if length > MAX_DIRECTORY_BYTES:
        raise _refuse("zip.limit", f"the central directory has {length} bytes; {MAX_DIRECTORY_BYTES} are allowed.")
    # Offsets count from the first byte of the file; bytes in front would shift them all.
    if start + length != records_end:
        hint = "Something stands in front of the first member; build the package again."
        raise _refuse("zip.prepended", "the central directory is not where the end record says.", hint)
    file.seek(start)
    return Directory(_parse_central(file.read(length), count), start)


def _directory_extent(file: BinaryIO, end: tuple[int, ...], end_at: int) -> tuple[int, int, int, int]:
    """Give count, length and start of the central directory, and where the records after it begin."""
    _, disk, first_disk, here, count, length, start, _ = end
    if disk not in {0, _MARK16} or first_disk not in {0, _MARK16}:
        raise _refuse("zip.spanned", "the archive is one part of several.", "Build it as one file.")
    # Some readers believe the one number, some the other.
    if here != count:
        raise _refuse("zip.spanned", "the end record counts members on other disks.", "Build it as one file.")
    locator = _read_at(file, end_at - _LOCATOR.size, _LOCATOR.size)
    if not locator.startswith(_LOCATOR_SIGNATURE):
        if _MARK16 in {disk, first_disk, count} or _MARK32 in {length, start}:
            raise _refuse("zip.zip64", "the end record points to a 64-bit record that is not there.")
        return count, length, start, end_at
    return _zip64_extent(file, _LOCATOR.unpack(locator), end_at - _LOCATOR.size, (count, length, start))


def _zip64_extent(
    file: BinaryIO, locator: tuple[int, ...], locator_at: int, short: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    _, disk, at, disks = locator
    record = _read_at(file, at, _END64.size) if at < locator_at else b""
    if len(record) < _END64.size or not record.startswith(b"PK\x06\x06") or disk != 0 or disks != 1:
        raise _refuse("zip.zip64", "the locator of the 64-bit end record is wrong.")
    _, length, _, _, disk, first_disk, here, count, directory_length, start = _END64.unpack(record)
    if at + 12 + length != locator_at or disk or first_disk or here != count:
        raise _refuse("zip.zip64", "the 64-bit end record contradicts itself.")
    # A short field is a marker or says the same: readers differ in which of two they believe.
    for mark, small, large in zip((_MARK16, _MARK32, _MARK32), short, (count, directory_length, start), strict=True):
        if small not in {mark, large}:
            raise _refuse("zip.zip64", f"the end records disagree: {small} and {large}.")
    return count, directory_length, start, at


def _parse_central(data: bytes, count: int) -> tuple[Header, ...]:
    headers = []
    at = 0
    for _ in range(count):
        if len(data) - at < _CENTRAL.size or data[at : at + 4] != b"PK\x01\x02":
            raise _refuse("zip.damaged", "the central directory is damaged.")
        fields = _CENTRAL.unpack_from(data, at)
        names, extras, comments = fields[10:13]
        end = at + _CENTRAL.size + names + extras + comments
        if end > len(data):
            raise _refuse("zip.damaged", "the central directory is cut off.")
        name_at = at + _CENTRAL.size
        name = data[name_at : name_at + names]
        extra = data[name_at + names : name_at + names + extras]
        headers.append(_header_of(name, extra, fields))
        at = end
    # Headers behind the last counted one would be seen by some readers only.
    if at != len(data):
        raise _refuse("zip.damaged", "the central directory holds more than the end record counts.")
    return tuple(headers)


def _header_of(name: bytes, extra: bytes, fields: tuple[int, ...]) -> Header:
    size, packed, offset, disk = fields[9], fields[8], fields[16], fields[13]
    # The order of the values in the extra field is fixed (APPNOTE 4.5.3).
    marked = [value == mark for value, mark in ((size, _MARK32), (packed, _MARK32), (offset, _MARK32))]
    wide = _wide_values(name, extra, sum(marked), disk == _MARK16)
    size, packed, offset = (
        wide.pop(0) if is_wide else value for is_wide, value in zip(marked, (size, packed, offset), strict=True)
    )
    disk = wide.pop(0) if disk == _MARK16 else disk
    return Header(
        name=name,
        flags=fields[3],
        method=fields[4],
        crc=fields[7],
        packed=packed,
        size=size,
        offset=offset,
        disk=disk,
        attributes=fields[15],
        extra=extra,
    )


def _wide_values(name: bytes, extra: bytes, longs: int, has_disk: bool) -> list[int]:
    """Give the 64-bit values of the extra field: exactly those that the header leaves to it."""
    expected = 8 * longs + 4 * has_disk
    field = extra_field(name, extra, _ZIP64_EXTRA)
    # More values than markers means two sizes for one member.
    if len(field) != expected:
        raise _refuse_member("zip.zip64", name, "the 64-bit sizes contradict the header.")
    return list(struct.unpack(f"<{longs}Q{'L' if has_disk else ''}", field))


def extra_field(name: bytes, extra: bytes, wanted: int) -> bytes:
    """Give the content of one extra field, empty when it is absent; twice the same one is refused."""
    found: list[bytes] = []
    at = 0
    while len(extra) - at >= 4:
        tag, length = struct.unpack_from("<2H", extra, at)
        if at + 4 + length > len(extra):
            raise _refuse_member("zip.damaged", name, "an extra field is cut off.")
        if tag == wanted:
            found.append(extra[at + 4 : at + 4 + length])
        at += 4 + length
    if len(found) > 1:
        raise _refuse_member("zip.damaged", name, f"the extra field 0x{wanted:04x} occurs twice.")
    return found[0] if found else b""


def read_local(file: BinaryIO, central: Header) -> Header:
    """Read the local header that a central header points to; `offset` of the result is the first byte of data."""
    raw = _read_at(file, central.offset, _LOCAL.size)
    if len(raw) < _LOCAL.size or not raw.startswith(LOCAL_SIGNATURE):
        raise _refuse_member("zip.mismatch", central.name, "its local header is not where the directory says.")
    _, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(raw)
    rest = _read_at(file, central.offset + _LOCAL.size, names + extras)
    name, extra = rest[:names], rest[names:]
    if len(rest) < names + extras:
        raise _refuse_member("zip.truncated", central.name, "its local header is cut off.")
    # Unlike the central header, a local one always has both wide sizes.
    if _MARK32 in {packed, size}:
        wide = extra_field(name, extra, _ZIP64_EXTRA)
        if len(wide) < 16:
            raise _refuse_member("zip.zip64", central.name, "its local header lacks the 64-bit sizes.")
        size, packed = struct.unpack_from("<2Q", wide)
    data_at = central.offset + _LOCAL.size + names + extras
    return Header(name=name, flags=flags, method=method, crc=crc, packed=packed, size=size, offset=data_at, extra=extra)


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    if at < 0:
        return b""
    file.seek(at)
    return file.read(length)


def _refuse(code: str, message: str, hint: str = "") -> PackageRefused:
    return PackageRefused([error(code, "archive", message, hint)])


def _refuse_member(code: str, name: bytes, message: str) -> PackageRefused:
    return PackageRefused([error(code, ascii(name.decode("utf-8", "replace")), message, "Build the package again.")])
