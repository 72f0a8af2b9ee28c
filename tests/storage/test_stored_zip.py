"""ZIP files of stored members: read as written, and refused where they are anything else."""

import io
import struct
import zipfile
from contextlib import suppress

import pytest
from golden.efficientat_recipe import stored
from hypothesis import given
from hypothesis import strategies as st

from l3clf.storage.stored_zip import UnusableZipError, stored_members

GOOD = stored({"a": b"one", "b/c": b"", "d": b"three"})
END = len(GOOD) - 22
DIRECTORY = GOOD.index(b"PK\x01\x02")


def changed(at, form, value, content=GOOD):
    """Return a copy with a number written at a place."""
    out = bytearray(content)
    struct.pack_into(form, out, at, value)
    return bytes(out)


@given(st.dictionaries(st.text("abc/._-", min_size=1, max_size=9), st.binary(max_size=50), min_size=1, max_size=6))
def test_members_are_those_that_were_written(members):
    found = stored_members(stored(members), 6)
    assert {name: bytes(content) for name, content in found.items()} == members
    assert list(found) == list(members)


def test_nothing_is_copied():
    assert stored_members(GOOD, 3)["a"].obj is GOOD


def test_zip64_records_in_front_of_the_end_are_allowed():
    """PyTorch always writes them; they repeat the last record."""
    size = END - DIRECTORY
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, size, DIRECTORY)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, END, 1)
    assert {*stored_members(GOOD[:END] + record + locator + GOOD[END:], 3)} == {"a", "b/c", "d"}


def packed(**options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"one" * 100, **options)
    return file.getvalue()


def twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"two")
    return file.getvalue()


BAD = {
    "empty": (b"", "is empty"),
    "no ZIP": (b"\x80\x02}q.", "is not a ZIP file"),
    "short": (GOOD[:10], "has no ZIP directory"),
    "half": (GOOD[: len(GOOD) // 2], "does not end where the file ends"),
    "more at the end": (GOOD + b"\0", "does not end where the file ends"),
    "a comment": (changed(END + 20, "<H", 1), "does not end where the file ends"),
    "another disk": (changed(END + 4, "<H", 1), "does not end where the file ends"),
    "a directory past the end": (changed(END + 16, "<L", END), "does not end where the file ends"),
    "fewer entries": (changed(END + 8, "<H", 2), "does not end where the file ends"),
    "a short directory": (changed(END + 12, "<L", END - DIRECTORY - 1), "is not one"),
    "no directory": (changed(END + 16, "<L", 0), "is not one"),
    "too many": (stored({str(i): b"" for i in range(4)}), "has 4 members, more than the 3 allowed"),
    "deflated": (packed(compress_type=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "encrypted": (changed(DIRECTORY + 8, "<H", 1), "compressed or encrypted"),
    "twice": (twice(), "has two members called 'a'"),
    "another size unpacked": (changed(DIRECTORY + 24, "<L", 1 << 30), "compressed or encrypted"),
    "far away": (changed(DIRECTORY + 42, "<L", 1 << 31), "not where the ZIP directory says"),
    "another's place": (changed(DIRECTORY + 42, "<L", GOOD.index(b"PK\x03\x04", 4)), "not where the ZIP directory"),
    "wrong checksum": (changed(DIRECTORY + 16, "<L", 1), "the checksum of its member 'a' is wrong"),
    "changed": (GOOD.replace(b"three", b"trhee"), "the checksum of its member 'd' is wrong"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_other_files_are_refused(content, words):
    with pytest.raises(UnusableZipError, match=words):
        stored_members(content, 3)


def test_members_that_overlap_are_refused():
    """As in a ZIP bomb, whose many members are all the same bytes."""
    longer = changed(DIRECTORY + 20, "<L", 40, changed(DIRECTORY + 24, "<L", 40))
    with pytest.raises(UnusableZipError, match="overlaps another"):
        stored_members(longer, 3)


@given(st.data())
def test_every_damage_is_refused_or_harmless(data):
    out = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        out[data.draw(st.integers(0, len(out) - 1))] = data.draw(st.integers(0, 255))
    with suppress(UnusableZipError):
        assert sorted(map(bytes, stored_members(bytes(out), 3).values())) == [b"", b"one", b"three"]
