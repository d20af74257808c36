"""Files from strangers: whatever is in them ends in a reading or in one line, never in a crash."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nnjax.images import open_picture

KINDS = ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]


def a_picture(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, bits=8, colours=2, *chunks):
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*entries, after=0):
    """A little-endian TIFF of one directory whose entries are (tag, type, count, value)."""
    told = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + told + struct.pack("<I", after)


CORPUS = {
    "nothing": b"",
    "one byte": b"\x89",
    "text": b"these are no pixels\n" * 9,
    "a png of no width": png(0, 10),
    "a png that declares 4 gigapixels": png(65_500, 65_500),
    "a png of 16 exabytes": png(2**31 - 1, 2**31 - 1, 16, 6),
    "a png without pixels": png(9, 9),
    "a png with too few pixels": png(9, 9, 8, 2, chunk(b"IDAT", zlib.compress(b"\0" * 5))),
    "a png whose pixels are no zlib": png(9, 9, 8, 2, chunk(b"IDAT", b"\xff" * 50)),
    "a png of an unknown colour type": png(9, 9, 8, 77),
    "a png with a bomb of text": png(9, 9, 8, 2, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 10**8))),
    "a palette of nothing": png(4, 4, 8, 3, chunk(b"IDAT", zlib.compress(b"\0\7\7\7\7" * 4))),
    "a tiff whose directory follows itself": tiff((256, 3, 1, 9), (257, 3, 1, 9), after=8),
    "a tiff of negative strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1, 2**32 - 1), (279, 4, 1, 9)),
    "a tiff with a billion strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 10**9, 8)),
    "a gif of one colour and no image": b"GIF89a\x09\0\x09\0\x80\0\0\0\0\0\xff\xff\xff;",
    "a ppm of letters": b"P6 9 nine 255\n",
    "a ppm of a huge maximum": b"P6 9 9 99999999\n" + bytes(300),
    "a bmp of a negative height": a_picture("BMP")[:22] + struct.pack("<i", -(2**31)) + a_picture("BMP")[26:],
    "a program in PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "a webp that ends in its header": a_picture("WEBP")[:20],
    "a jpeg that ends in its header": a_picture("JPEG")[:20],
}


def opened(path):
    """What becomes of the file: grey, or None after an error for people."""
    try:
        grey = open_picture(path)
    except ValueError as error:
        told = str(error)
    else:
        assert grey.ndim == 2
        assert np.isfinite(grey).all()
        assert 0 <= grey.min() <= grey.max() <= 1
        return grey
    assert "\n" not in told
    assert str(path) in told
    return None


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_files_end_in_a_line(tmp_path, name):
    path = tmp_path / "picture"
    path.write_bytes(CORPUS[name])
    opened(path)


def test_postscript_is_not_run(tmp_path):
    path = tmp_path / "picture.eps"
    path.write_bytes(CORPUS["a program in PostScript"])
    with pytest.raises(ValueError, match="no picture of a known kind"):
        open_picture(path)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_a_line(tmp_path, kind, data):
    content = bytearray(a_picture(kind))
    assert opened_bytes(tmp_path, content) is not None
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[place] = byte
    opened_bytes(tmp_path, content[: data.draw(st.integers(0, len(content)))])


def opened_bytes(folder, content):
    (folder / "picture").write_bytes(content)
    return opened(folder / "picture")
