"""The members of a ZIP archive, judged: anything odd is refused, nothing is repaired."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dlpk.errors import PackageRefused
from dlpk.findings import Finding, error
from dlpk.limits import Limits
from dlpk.names import fault_of_name, find_collisions
from dlpk.zip_records import Header, extra_field, read_directory, read_local

CHUNK_BYTES = 2**20

_STORED, _DEFLATED = 0, 8
_ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR_FLAG = 0x0008
_PATCH_FLAG = 0x0020
_UTF8_FLAG = 0x0800
_UNICODE_PATH_EXTRA = 0x7075
_AES_METHOD = 99
_DOS_FOLDER, _NTFS_REPARSE_POINT = 0x10, 0x400


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A regular file in an archive, and where its bytes lie."""

    name: str
    size: int
    packed: int
    crc: int
    deflated: bool
    data_at: int


def read_layout(file: BinaryIO, limits: Limits) -> tuple[ZipMember, ...]:
    """Read and judge the whole layout of an archive without unpacking anything.

    Raises:
        PackageRefused: With a finding for each member that breaks a rule.
    """
    directory = read_directory(file, max_entries=limits.entries)
    names = [_decode_name(header) for header in directory.headers]
    named = zip(directory.headers, names, strict=True)
    findings = [fault for header, name in named for fault in _faults_of_entry(header, name, limits)]
    findings += [
        error("zip.duplicate", shown(name.encode()), f"{clash}.", "Rename or remove one of them.")
        for name, clash in find_collisions(name for name in names if name and not fault_of_name(name.removesuffix("/")))
    ]
    findings += _faults_of_whole(directory.headers, file.seek(0, 2), limits)
    findings += _overlaps(directory.headers, directory.start)
    if findings:
        raise PackageRefused(findings)
    members = _place_members(file, directory.headers, directory.start)
    return tuple(member for member in members if not member.name.endswith("/"))


def _decode_name(header: Header) -> str | None:
    try:
        # Unmarked names are code page 437, of which only the ASCII half means the same everywhere.
        return header.name.decode("utf-8" if header.flags & _UTF8_FLAG else "ascii")
    except UnicodeDecodeError:
        return None


def _faults_of_entry(header: Header, name: str | None, limits: Limits) -> Iterator[Finding]:
    where = shown(header.name)
    if name is None:
        yield error("zip.encoding", where, "the name is neither ASCII nor valid, marked UTF-8.", "Rename the file.")
    elif fault := fault_of_name(name.removesuffix("/")):
        yield error("zip.path", where, f"{fault}.", "Rename the file and build the package again.")
    # AES writes its own method number instead of the flag.
    if header.flags & _ENCRYPTED_FLAGS or header.method == _AES_METHOD:
        yield error("zip.encrypted", where, "the member is encrypted.", "Build the package without a password.")
    elif header.method not in {_STORED, _DEFLATED} or header.flags & _PATCH_FLAG:
        hint = "Only stored and deflated members are read."
        yield error("zip.method", where, f"compression method {header.method} is not supported.", hint)
    if header.disk != 0:
        yield error("zip.spanned", where, f"the member lies on disk {header.disk}.", "Build the archive as one file.")
    if header.size > limits.small_member_bytes and header.size > limits.member_ratio * max(header.packed, 1):
        ratio = header.size // max(header.packed, 1)
        message = f"the member unpacks to {ratio} times its size; {limits.member_ratio} are allowed."
        yield error("zip.ratio", where, message, "Store it without compression.")
    yield from _faults_of_kind(header, where)


def _faults_of_kind(header: Header, where: str) -> Iterator[Finding]:
    # Writers on Windows leave the mode 0, so 0 means a plain file.
    mode = header.attributes >> 16
    kind = stat.S_IFMT(mode)
    is_folder = header.name.endswith(b"/")
    if kind == stat.S_IFLNK or header.attributes & _NTFS_REPARSE_POINT:
        yield error("zip.link", where, "the member is a link.", "Replace the link by the file itself.")
    elif kind not in {0, stat.S_IFREG, stat.S_IFDIR} or mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        yield error("zip.type", where, f"mode {mode:o} is not that of a plain file or folder.")
    elif (kind == stat.S_IFDIR or header.attributes & _DOS_FOLDER) and not is_folder:
        yield error("zip.type", where, "the member is marked as a folder but named as a file.")
    elif is_folder and (kind == stat.S_IFREG or header.size or header.packed):
        yield error("zip.type", where, "the member is named as a folder but holds a file.")


def _faults_of_whole(headers: tuple[Header, ...], archive_bytes: int, limits: Limits) -> Iterator[Finding]:
    # Declared sizes are enough here: streaming stops where a member exceeds its own.
    total = sum(header.size for header in headers)
    if total > limits.total_bytes:
        yield error("zip.limit", "archive", f"it unpacks to {total} bytes; {limits.total_bytes} are allowed.")
    if total > limits.small_total_bytes and total > limits.total_ratio * archive_bytes:
        message = f"it unpacks to {total // archive_bytes} times its size; {limits.total_ratio} are allowed."
        yield error("zip.ratio", "archive", message)


def _overlaps(headers: tuple[Header, ...], directory_at: int) -> Iterator[Finding]:
    by_place = sorted(headers, key=lambda header: header.offset)
    ends = [header.offset for header in by_place[1:]] + [directory_at]
    for header, end in zip(by_place, ends, strict=True):
        # A member needs at least its own header of 30 bytes and its name.
        if header.offset + 30 + len(header.name) + header.packed > end:
            yield error("zip.overlap", shown(header.name), "its bytes overlap those of the next record.")
            return


def _place_members(file: BinaryIO, headers: tuple[Header, ...], directory_at: int) -> list[ZipMember]:
    """Check that local headers agree and that members fill the file up to the directory, without gap or overlap."""
    by_place = sorted(headers, key=lambda header: header.offset)
    members = []
    # A self-extracting archive begins with a program.
    if by_place and by_place[0].offset != 0:
        raise PackageRefused([error("zip.prepended", "archive", "there are bytes before the first member.")])
    ends = [header.offset for header in by_place[1:]] + [directory_at]
    for header, end in zip(by_place, ends, strict=True):
        local = read_local(file, header)
        _check_local(header, local)
        _check_end(file, header, data_end=local.offset + header.packed, end=end)
        name = header.name.decode("utf-8")
        members.append(
            ZipMember(name, header.size, header.packed, header.crc, header.method == _DEFLATED, local.offset)
        )
    return sorted(members, key=lambda member: member.name)


def _check_local(central: Header, local: Header) -> None:
    pairs: dict[str, tuple[object, object]] = {
        "name": (central.name, local.name),
        "flags": (central.flags, local.flags),
        "method": (central.method, local.method),
    }
    sizes = (local.crc, local.packed, local.size)
    # A writer that streams leaves zeros here and writes a descriptor behind the data.
    if not (central.flags & _DESCRIPTOR_FLAG and sizes == (0, 0, 0)):
        pairs["CRC or size"] = ((central.crc, central.packed, central.size), sizes)
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise _refuse("zip.mismatch", central, f"directory and local header disagree about the {what}.")
    for header in (central, local):
        # Info-ZIP keeps the Unicode name here, and its readers prefer it.
        other_name = extra_field(header.name, header.extra, _UNICODE_PATH_EXTRA)[5:]
        if other_name not in {b"", central.name}:
            raise _refuse("zip.mismatch", central, "an extra field gives the member another name.")


def _check_end(file: BinaryIO, header: Header, *, data_end: int, end: int) -> None:
    if data_end > end:
        raise _refuse("zip.overlap", header, "its bytes overlap those of the next record.")
    file.seek(data_end)
    # The longest descriptor has 24 bytes; more is a gap anyway.
    between = file.read(min(end - data_end, 32))
    if end - data_end != len(between) or between not in _possible_descriptors(header):
        raise _refuse("zip.gap", header, f"{end - data_end} bytes after it belong to no member.")


def _possible_descriptors(header: Header) -> set[bytes]:
    if not header.flags & _DESCRIPTOR_FLAG:
        return {b""}
    wide = struct.pack("<L2Q", header.crc, header.packed, header.size)
    # The signature is optional and the width told by nothing (APPNOTE 4.3.9), so all forms are tried.
    forms = {wide}
    if max(header.packed, header.size) < 2**32:
        forms.add(struct.pack("<3L", header.crc, header.packed, header.size))
    return forms | {b"PK\x07\x08" + form for form in forms}


def stream_member(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    """Unpack one member piece by piece; never gives more than the declared size.

    Raises:
        PackageRefused: The content is larger or smaller than declared, or its CRC is wrong.
    """
    crc = total = 0
    for piece in _inflate(file, member) if member.deflated else _copy(file, member):
        total += len(piece)
        if total > member.size:
            raise _refuse_content("zip.size", member, f"it unpacks to more than the declared {member.size} bytes.")
        crc = zlib.crc32(piece, crc)
        yield piece
    if total != member.size:
        raise _refuse_content("zip.size", member, f"it unpacks to {total} bytes; {member.size} are declared.")
    if crc != member.crc:
        raise _refuse_content("zip.damaged", member, "its CRC is wrong: the content is damaged.")


def _copy(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    for at in range(member.data_at, member.data_at + member.packed, CHUNK_BYTES):
        file.seek(at)
        yield file.read(min(CHUNK_BYTES, member.data_at + member.packed - at))


def _inflate(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _copy(file, member):
            pending = packed
            while pending and not stream.eof:
                yield stream.decompress(pending, CHUNK_BYTES)
                pending = stream.unconsumed_tail
        # What zlib still holds comes out in bounded pieces too.
        while not stream.eof and (piece := stream.decompress(b"", CHUNK_BYTES)):
            yield piece
    except zlib.error as fault:
        raise _refuse_content("zip.damaged", member, f"its compressed data is damaged ({fault}).") from None
    if not stream.eof or stream.unused_data:
        raise _refuse_content("zip.damaged", member, "its compressed data does not end where it should.")


def shown(name: bytes) -> str:
    """Give the name of a member for messages: no control or bidi characters reach a terminal or a page."""
    return ascii(name[:200].decode("utf-8", "backslashreplace"))[1:-1]


def _refuse(code: str, header: Header, message: str) -> PackageRefused:
    return PackageRefused([error(code, shown(header.name), message, "Build the package again.")])


def _refuse_content(code: str, member: ZipMember, message: str) -> PackageRefused:
    return PackageRefused([error(code, member.name, message, "Build the package again.")])
