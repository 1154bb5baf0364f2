"""Cases P01 to P18: archives that must be refused whole, and a few that must not."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import stat
import struct
import threading
import time
import tracemalloc
import unicodedata
import zipfile
import zlib

import pytest

import dlpk
from dlpk.extraction import unpack
from dlpk.limits import Limits
from dlpk.names import fault_of_name

UTF8 = 0x0800
MB = 2**20


def test_the_untouched_archive_is_accepted(tmp_path, sound, zip_bytes):
    path = tmp_path / "sound.dlpk"
    path.write_bytes(zip_bytes(sound))
    assert dlpk.open(path).definition.model_file == "net.onnx"


def test_p01_traversal_is_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"../../x.py")])) == {"zip.path"}
    assert refusal(zip_bytes([*sound, entry(b"a/../../x.py")])) == {"zip.path"}


def test_p02_an_absolute_name_is_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"/abs/x")])) == {"zip.path"}


@pytest.mark.parametrize("name", [b"C:\\x", b"C:x", b"\\\\srv\\share\\x", b"a\\..\\b", b"a\\b", b"//srv/x"])
def test_p03_windows_names_are_refused_on_every_system(sound, entry, zip_bytes, refusal, name):
    assert refusal(zip_bytes([*sound, entry(name)])) == {"zip.path"}


def test_p04_links_are_refused(sound, entry, zip_bytes, refusal):
    link = entry(b"weights", b"/etc", attributes=(stat.S_IFLNK | 0o777) << 16)
    assert refusal(zip_bytes([*sound, link])) == {"zip.link"}
    assert "zip.link" in refusal(zip_bytes([*sound, link, entry(b"weights/passwd")]))
    assert refusal(zip_bytes([*sound, entry(b"r", attributes=0x400)])) == {"zip.link"}


@pytest.mark.parametrize("mode", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFREG | stat.S_ISUID])
def test_p05_special_files_are_refused(sound, entry, zip_bytes, refusal, mode):
    assert refusal(zip_bytes([*sound, entry(b"x", attributes=(mode | 0o644) << 16)])) == {"zip.type"}


def test_p05_folders_that_are_files_are_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"x", attributes=stat.S_IFDIR << 16)])) == {"zip.type"}
    assert refusal(zip_bytes([*sound, entry(b"x/", b"content")])) == {"zip.type"}
    assert refusal(zip_bytes([*sound, entry(b"x"), entry(b"x/y")])) == {"zip.duplicate"}


def test_p06_a_name_twice_is_refused(sound, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, sound[0]])) == {"zip.duplicate"}


def test_p07_names_equal_by_case_or_unicode_form_are_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"A.txt"), entry(b"a.TXT")])) == {"zip.duplicate"}
    assert refusal(zip_bytes([*sound, entry(b"Data/x"), entry(b"data/y")])) == {"zip.duplicate"}
    composed, apart = (unicodedata.normalize(form, "é.txt").encode() for form in ("NFC", "NFD"))
    assert "zip.path" in refusal(zip_bytes([*sound, entry(composed, flags=UTF8), entry(apart, flags=UTF8)]))
    sharp = [entry("straße".encode(), flags=UTF8), entry(b"STRASSE")]
    assert refusal(zip_bytes([*sound, *sharp])) == {"zip.duplicate"}


@pytest.mark.parametrize(
    "name",
    [
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u202eb",
        "a\u200bb",
        "a.",
        "a ",
        "d./x",
        "CON",
        "con.txt",
        "LPT1.py",
        "a:b",
        "a*",
        "a?",
    ],
)
def test_p08_names_that_deceive_or_that_windows_reserves_are_refused(sound, entry, zip_bytes, refusal, name):
    assert refusal(zip_bytes([*sound, entry(name.encode(), flags=UTF8)])) == {"zip.path"}


def test_p09_names_must_be_ascii_or_marked_utf8(tmp_path, sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"\xff\xfe.txt", flags=UTF8)])) == {"zip.encoding"}
    assert refusal(zip_bytes([*sound, entry(b"\x84.txt")])) == {"zip.encoding"}
    (tmp_path / "good.dlpk").write_bytes(zip_bytes([*sound, entry("ärger.txt".encode(), flags=UTF8)]))
    assert "ärger.txt" in [member.name for member in dlpk.open(tmp_path / "good.dlpk").members]


def test_p10_overlapping_members_are_refused_on_every_python(entry, zip_bytes, refusal):
    payload = entry(b"a.emd", bytes(20 * MB), method=8)
    same = [payload] + [entry(b"a.emd", payload.data, method=8, offset=0) for _ in range(500)]
    other = [payload] + [entry(b"b%d.emd" % n, payload.data, method=8, offset=0) for n in range(3)]
    started = time.process_time()
    assert "zip.overlap" in refusal(zip_bytes(other))
    assert "zip.overlap" in refusal(_one_payload_many_names(same, 500))
    assert time.process_time() - started < 20


def _one_payload_many_names(entries, count):
    """Point many directory entries at one deflated payload without compressing it anew for each."""
    data = entries[0].data
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = stream.compress(data) + stream.flush()
    crc = zlib.crc32(data)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(body), len(data), 5, 0) + b"a.emd" + body
    fields = (b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(body), len(data), 5, 0, 0, 0, 0, 0, 0)
    directory = (struct.pack("<4s6H3L5H2L", *fields) + b"a.emd") * count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(local), 0)
    return local + directory + end


def test_p10_partly_overlapping_members_are_refused(sound, entry, zip_bytes, refusal):
    quine = zip_bytes([entry(b"inner", b"y" * 50)])
    start = 30 + len(b"outer")
    entries = [entry(b"outer", quine), entry(b"inner", b"y" * 50, offset=start)]
    assert refusal(zip_bytes(entries)) == {"zip.overlap"}


def test_p11_a_bomb_is_refused_fast_and_in_little_memory(tmp_path, sound, entry, zip_bytes, refusal):
    honest = zip_bytes([*sound, entry(b"bomb", bytes(100 * MB), method=8)])
    lying = zip_bytes([*sound, entry(b"bomb", bytes(100 * MB), method=8, size=1_000_000)])
    tracemalloc.start()
    try:
        started = time.process_time()
        assert "zip.ratio" in refusal(honest)
        assert refusal(lying) == {"zip.size"}
        assert time.process_time() - started < 1
        assert tracemalloc.get_traced_memory()[1] < 50 * MB
    finally:
        tracemalloc.stop()


def test_p12_a_wrong_declared_size_is_refused(sound, entry, zip_bytes, refusal):
    text = b"some text, some text, some text"
    for method in (0, 8):
        smaller = entry(b"x", text, method=method, size=5)
        larger = entry(b"x", text, method=method, size=100)
        assert refusal(zip_bytes([*sound, smaller])) == {"zip.size"}
        assert refusal(zip_bytes([*sound, larger])) == {"zip.size"}


def test_p12_a_wrong_crc_is_refused(sound, zip_bytes, refusal):
    archive = bytearray(zip_bytes(sound))
    at = archive.find(b"land")
    archive[at : at + 4] = b"LAND"
    assert "zip.damaged" in refusal(bytes(archive))


def test_p13_too_many_or_too_deep_members_are_refused_before_unpacking(sound, entry, zip_bytes, refusal):
    crowd = zip_bytes([entry(b"%d" % number, b"") for number in range(60_000)])
    started = time.process_time()
    assert refusal(crowd) == {"zip.limit"}
    assert refusal(zip_bytes([*sound, entry(b"d/" * 5_000 + b"x")])) == {"zip.path"}
    assert time.process_time() - started < 1


def test_p13_the_bytes_of_all_members_are_limited(tmp_path, sound, zip_bytes):
    path = tmp_path / "big.dlpk"
    path.write_bytes(zip_bytes(sound))
    findings = dlpk.check(path, limits=Limits(total_bytes=100)).findings
    assert [finding.code for finding in findings] == ["zip.limit"]


def test_p14_inner_archives_stay_closed(tmp_path, sound, entry, zip_bytes):
    inner = zip_bytes([entry(b"../../evil", b"x")])
    middle = zip_bytes([entry(b"a.zip", inner), entry(b"a.zip", inner)])
    path = tmp_path / "nested.dlpk"
    path.write_bytes(zip_bytes([*sound, entry(b"nested.zip", middle)]))
    package = dlpk.open(path)
    assert package.read("nested.zip") == middle
    package.extract(tmp_path / "out")
    assert (tmp_path / "out" / "nested.zip").read_bytes() == middle


def test_p15_encrypted_and_foreign_members_are_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"x", flags=1)])) == {"zip.encrypted"}
    assert refusal(zip_bytes([*sound, entry(b"x", method=99)])) == {"zip.encrypted"}
    for method in (9, 12, 14, 93):
        assert refusal(zip_bytes([*sound, entry(b"x", method=method)])) == {"zip.method"}


def test_p15_spanned_archives_are_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"x", disk=1)])) == {"zip.spanned"}
    assert refusal(b"PK\x07\x08" + zip_bytes(sound)) == {"zip.spanned"}


def test_p15_lies_in_64_bit_records_are_refused(sound, entry, zip_bytes, refusal):
    wide = struct.pack("<2HQ", 1, 8, 2**40)
    assert refusal(zip_bytes([*sound, entry(b"x", extra=wide)])) == {"zip.zip64"}
    assert refusal(zip_bytes([*sound, entry(b"x", size=0xFFFFFFFF)])) == {"zip.zip64"}
    huge = entry(b"x", size=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 2**40))
    assert refusal(zip_bytes([*sound, huge])) >= {"zip.limit", "zip.ratio"}
    archive = zip_bytes(sound)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 10**9, 1)
    assert refusal(archive[:-22] + locator + archive[-22:]) == {"zip.zip64"}


def test_p15_honest_64_bit_records_are_read(tmp_path, sound):
    path = tmp_path / "wide.dlpk"
    with zipfile.ZipFile(path, "w") as archive:
        for member in sound:
            with archive.open(member.name.decode(), "w", force_zip64=True) as target:
                target.write(member.data)
    assert dlpk.open(path).read("net.onnx") == sound[1].data


@pytest.mark.parametrize("lie", [{"local_name": b"y"}, {"local_size": 7}, {"local_method": 8}])
def test_p16_headers_that_disagree_are_refused(sound, entry, zip_bytes, refusal, lie):
    assert refusal(zip_bytes([*sound, entry(b"x", **lie)])) == {"zip.mismatch"}


def test_p16_a_second_name_in_an_extra_field_is_refused(sound, entry, zip_bytes, refusal):
    name = b"\x01" + struct.pack("<L", zlib.crc32(b"x")) + b"../evil"
    extra = struct.pack("<2H", 0x7075, len(name)) + name
    assert refusal(zip_bytes([*sound, entry(b"x", extra=extra)])) == {"zip.mismatch"}


def test_p17_bytes_around_the_archive_are_refused(sound, zip_bytes, refusal):
    archive = zip_bytes(sound)
    assert refusal(b"#!/bin/sh\n" + archive) == {"zip.prepended"}
    assert refusal(zip_bytes(sound, before=b"PK\x03\x04 hidden")) == {"zip.prepended"}
    assert refusal(archive + b"tail") == {"zip.trailing"}
    assert refusal(archive + archive) == {"zip.prepended"}


def test_p17_bytes_between_members_are_refused(sound, entry, zip_bytes, refusal):
    assert refusal(zip_bytes([*sound, entry(b"x", descriptor=b"hidden")])) == {"zip.gap"}


def test_p17_a_comment_is_no_trailing_data(tmp_path, sound, zip_bytes):
    path = tmp_path / "comment.dlpk"
    path.write_bytes(zip_bytes(sound, comment=b"made by hand"))
    assert dlpk.check(path).valid


def test_p18_a_truncated_archive_is_refused(sound, zip_bytes, refusal):
    archive = zip_bytes(sound)
    assert refusal(archive[: len(archive) // 2]) == {"zip.truncated"}
    assert refusal(archive[:-1]) == {"zip.truncated"}


def test_p18_a_wrong_declared_digest_is_refused(tmp_path, sound, zip_bytes):
    path = tmp_path / "a.dlpk"
    path.write_bytes(zip_bytes(sound))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert dlpk.open(path, sha256=digest).definition is not None
    with pytest.raises(dlpk.PackageRefused, match="promised"):
        dlpk.open(path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("start", "code", "word"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "archive.7zip", "7-Zip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "archive.git_lfs", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "archive.kind", "web page"),
        (b"", "archive.kind", "empty"),
        (b"Rar!\x1a\x07", "archive.kind", "RAR"),
    ],
)
def test_other_containers_are_refused_with_their_name(tmp_path, start, code, word):
    path = tmp_path / "a.dlpk"
    path.write_bytes(start)
    (finding,) = dlpk.check(path).findings
    assert finding.code == code
    assert word in str(finding)


def test_a_missing_file_is_refused(tmp_path):
    assert dlpk.check(tmp_path / "nothing.dlpk").findings[0].code == "archive.missing"


def test_archives_that_were_streamed_are_read(tmp_path, sound):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sound:
            archive.writestr(member.name.decode(), member.data)
    path = tmp_path / "streamed.dlpk"
    path.write_bytes(bytes(pipe.content))
    assert dlpk.open(path).read("net.onnx") == sound[1].data


def test_links_and_pipes_in_folders_are_refused(folder):
    (folder / "secret").symlink_to("/etc/passwd")
    assert [finding.code for finding in dlpk.check(folder).findings] == ["zip.link"]
    (folder / "secret").unlink()
    (folder / "secret").symlink_to("/etc", target_is_directory=True)
    assert [finding.code for finding in dlpk.check(folder).findings] == ["zip.link"]


@pytest.mark.parametrize("reference", ["sub/net.onnx", "sub"])
def test_a_definition_does_not_reach_out_of_its_folder_through_a_linked_folder(
    tmp_path, folder, keys, onnx_bytes, reference
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "net.onnx").write_bytes(onnx_bytes)
    (folder / "sub").symlink_to(elsewhere, target_is_directory=True)
    (folder / "model.emd").write_text(json.dumps({**keys, "ModelFile": reference}))
    report = dlpk.check(folder / "model.emd")
    assert [finding.code for finding in report.findings] == ["model_file.missing"]


def test_unpacking_gives_the_same_digest_and_read_only_files(tmp_path, sound, entry, zip_bytes):
    path = tmp_path / "a.dlpk"
    path.write_bytes(zip_bytes([*sound, entry(b"sub/more.txt"), entry(b"__pycache__/x.pyc"), entry(b"run.log")]))
    package = dlpk.open(path)
    out = package.extract(tmp_path / "out")
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        "model.emd",
        "net.onnx",
        "sub",
        "sub/more.txt",
    ]
    assert dlpk.open(out).digest == package.digest
    assert stat.S_IMODE((out / "net.onnx").stat().st_mode) == 0o444


def test_unpacking_never_replaces_what_is_there(tmp_path, folder):
    package = dlpk.open(folder)
    (tmp_path / "taken").mkdir()
    with pytest.raises(dlpk.TargetExists):
        package.extract(tmp_path / "taken")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(dlpk.TargetExists):
        package.extract(tmp_path / "link")


def test_content_that_changed_after_the_check_is_not_unpacked(tmp_path, folder, onnx_bytes):
    package = dlpk.open(folder)
    assert package.digest
    (folder / "net.onnx").write_bytes(onnx_bytes[:-1] + b"!")
    with pytest.raises(dlpk.PackageRefused, match="changed"):
        package.extract(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"package"}


def test_an_archive_has_no_paths_before_it_is_unpacked(tmp_path, sound, zip_bytes):
    path = tmp_path / "a.dlpk"
    path.write_bytes(zip_bytes(sound))
    with pytest.raises(dlpk.NotUnpacked):
        _ = dlpk.open(path).model_path


@pytest.mark.parametrize("name", ["a/b.txt", "ü/ß", "a b.onnx", "..data", "con1", ".hidden", "x" * 240])
def test_ordinary_names_are_safe(name):
    assert fault_of_name(name) is None


def test_a_name_may_not_be_longer_than_the_limit():
    assert fault_of_name("x" * 241)
    assert fault_of_name("/".join(["d"] * 13))
    assert fault_of_name("/".join(["d"] * 12)) is None


def test_messages_never_show_where_the_package_lies(tmp_path, folder):
    (folder / "model.emd").write_text("{")
    texts = [str(finding) for finding in dlpk.check(folder).findings]
    assert texts
    assert not any(str(tmp_path) in text for text in texts)


def test_p26_a_full_disk_leaves_nothing_behind(tmp_path, folder):
    class FullDisk:
        members = dlpk.open(folder).members
        digest = "0" * 64

        def stream(self, name):
            yield b"part"
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        unpack(FullDisk(), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"package"}


def test_p25_of_many_that_unpack_at_once_one_wins(tmp_path, folder):
    package = dlpk.open(folder)
    outcomes = []

    def extract():
        try:
            outcomes.append(package.extract(tmp_path / "out"))
        except dlpk.TargetExists:
            outcomes.append(None)

    threads = [threading.Thread(target=extract) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted([str(tmp_path / "out"), *["None"] * 7])
    assert {path.name for path in tmp_path.iterdir()} == {"package", "out"}
    assert dlpk.open(tmp_path / "out").digest == package.digest
