"""Files from strangers: whatever is in them ends in a reading or in one line, never in a crash."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nnjax
from fuzz.targets import (
    KINDS,
    a_convolutional_model,
    a_model,
    a_picture,
    joined,
    open_any_picture,
    parts,
    read_any_model,
)
from nnjax.recognition import open_picture

# --- pictures ---


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


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_files_end_in_a_line(tmp_path, name):
    path = tmp_path / "picture"
    path.write_bytes(CORPUS[name])
    open_any_picture(path)


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
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert open_any_picture(path) is not None
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[place] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    open_any_picture(path)


# --- model files ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model file, what it says of itself, and its tensors."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    return a_model(path), *parts(path)


def headed(header, body):
    """A file of this header, JSON or bytes, and this body."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + body


def taken_apart(content):
    """The header and the body of a model file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def with_header(content, **changes):
    """That model file, with changes of what its header says of the tensor 0.w, or of others by name."""
    header, body = taken_apart(content)
    return headed(header | {"0.w": header["0.w"] | changes}, body)


NAN, INF = np.full((3, 9), np.nan, np.float32), np.full(3, np.inf, np.float32)
HEADERS = {
    "2**60 rows": {"shape": [2**60, 9]},
    "a size that overflows": {"shape": [2**32, 2**32]},
    "a negative size": {"shape": [-3, 9]},
    "a size of no rows": {"shape": [0, 2**62], "data_offsets": [0, 0]},
    "sizes that are floats": {"shape": [3.0, 9.0]},
    "ten thousand dimensions": {"shape": [1] * 10_000},
    "a place beyond the end": {"data_offsets": [0, 2**40]},
    "a place that overlaps": {"data_offsets": [4, 112]},
    "a place that ends before it begins": {"data_offsets": [108, 0]},
    "an unknown type": {"dtype": "F31"},
    "eight bits": {"dtype": "F8_E4M3", "shape": [108]},
    "whole numbers": {"dtype": "I32"},
}
TOLD = {
    "a size of 2**60": {"sizes": [9, 2**60, 2]},
    "a negative size": {"sizes": [9, -3, 2]},
    "sizes that are floats": {"sizes": [9, 3.0, 2]},
    "sizes that are text": {"sizes": "932"},
    "a hundred thousand layers": {"sizes": [9] * 100_000},
    "another format": {"format": 10},
    "an escape sequence for a format": {"format": "\x1b]0;x\a"},
    "images whose sides are floats": {"image_shape": [3.9, 3.9]},
    "images of a hundred dimensions": {"image_shape": [3, 3, *[1] * 100]},
    "negative images": {"image_shape": [-3, -3]},
    "a box of floats": {"form": {"box": [2.5, 2.5], "stretched": True}},
    "more labels than can be counted": {"num_classes": 10**30},
    "labels that are floats": {"num_classes": 2.5},
    "a name that is a list": {"activation": ["sigmoid"]},
    "a name of a megabyte": {"activation": "s" * 900_000},
    "a temperature of NaN": {"temperature": float("nan")},
    "settings that are a number": {"settings": 5},
}
TOLD_OF_CONVOLUTIONS = {
    "two thousand million pixels": {"image_shape": [32768, 65535], "side": 1, "channels": [1] * 15},
    "patches of four million pixels": {"image_shape": [2048, 2048], "side": 2047, "channels": [1]},
    "a million channels": {"channels": [1_000_000]},
    "a hundred thousand convolutions": {"channels": [1] * 100_000, "side": 1},
    "a side of 10**30": {"side": 10**30},
    "no side": {"side": None},
    "a side of 0": {"side": 0},
    "a side that is true": {"side": True},
    "a side that is a float": {"side": 3.0},
    "channels that are text": {"channels": "2"},
    "channels that are a mapping": {"channels": {"2": 2}},
    "channels that are true": {"channels": [True]},
    "negative channels": {"channels": [-2]},
    "a side without channels": {"channels": []},
    "a line of pixels": {"image_shape": [16]},
    "a cost that takes no activation": {"cost": "softmax_cross_entropy"},
}
TENSORS = {
    "NaN for weights": {"0.w": NAN},
    "infinity for biases": {"0.b": INF},
    "float64 beyond float32": {"0.b": np.full(3, 1e300)},
    "a name that leads out": {"../../x": np.zeros(3, np.float32)},
    "an empty name": {"": np.zeros(3, np.float32)},
    "a layer too many": {"2.w": np.zeros((2, 2), np.float32)},
    "a direction of no dimension": {"likeness.directions": np.zeros((), np.float32)},
}
EXTRA = b'"9.w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def hostile_models(content, told, tensors):
    """Model files that are to be refused, by what is wrong with them."""
    header, body = taken_apart(content)
    many = header["__metadata__"] | {f"key {i}": "" for i in range(10_000)}
    yield from {
        "nothing": b"",
        "text": b"these are no weights\n" * 9,
        "a picture": a_picture("PNG"),
        "a header of 2**60 bytes": struct.pack("<Q", 2**60) + content[8:],
        "a header of 2 MB": headed(header | {"__metadata__": {"nnjax": " " * 2_000_000}}, body),
        "a header of no JSON": headed(b"{" + bytes(500), body),
        "a header of brackets": headed(b"{" * 900_000, body),
        "ten thousand metadata keys": headed(header | {"__metadata__": many}, body),
        "a tensor twice": headed(b"{" + EXTRA + b"," + EXTRA + b"}", bytes(4)),
        "the end missing": content[:-4],
        "more at the end": content + bytes(4),
        "what it says nested deeply": joined("[" * 400_000, tensors),
        "what it says a list": joined("[]", tensors),
        "what it says a million lists": joined(f"[{'[],' * 300_000}0]", tensors),
        "a number of a megabyte": joined("9" * 900_000, tensors),
        "a likeness in part": joined(
            json.dumps(told), {k: v for k, v in tensors.items() if k[-4:] != "rest"}
        ),
    }.items()
    yield from ((f"a header with {name}", with_header(content, **what)) for name, what in HEADERS.items())
    yield from ((name, joined(json.dumps(told | what), tensors)) for name, what in TOLD.items())
    yield from ((name, joined(json.dumps(told), tensors | what)) for name, what in TENSORS.items())


def hostile_convolutions(content, told, tensors):
    """The same of a model with a convolution."""
    for name, what in TOLD_OF_CONVOLUTIONS.items():
        yield name, joined(json.dumps(told | what), tensors)


def refuse(path, models):
    for name, content in models:
        path.write_bytes(content)
        assert read_any_model(path) is None, name


def test_hostile_models_are_refused_in_a_line(tmp_path, whole):
    refuse(tmp_path / "m.safetensors", hostile_models(*whole))


def test_hostile_convolutions_are_refused_in_a_line(tmp_path):
    path = tmp_path / "m.safetensors"
    whole = a_convolutional_model(path), *parts(path)
    assert read_any_model(path) is not None
    refuse(path, hostile_convolutions(*whole))


def test_a_header_of_hundreds_of_megabytes_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 400_000_000) + b"{")
    os.truncate(path, 500_000_000)
    with pytest.raises(ValueError, match="header has 400,000,000 bytes; at most 1,000,000"):
        nnjax.load_model(path)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(2**60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


def try_models_of_chance(path, content, told, tensors):
    """Bytes that were changed, headers and metadata that say anything."""
    header, body = taken_apart(content)
    chance = settings(deadline=None, max_examples=400, database=None)

    @chance
    @given(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))),
        st.integers(0, len(content)),
    )
    def damaged(changes, end):
        changed = bytearray(content)
        for place, byte in changes:
            changed[place] = byte
        path.write_bytes(changed[: end or None])
        read_any_model(path)

    @chance
    @given(st.dictionaries(st.sampled_from(sorted(told)), ANY_JSON, min_size=1, max_size=3))
    def said(changes):
        path.write_bytes(joined(json.dumps(told | changes), tensors))
        read_any_model(path)

    @chance
    @given(
        st.sampled_from(sorted(header)),
        st.sampled_from(["dtype", "shape", "data_offsets", "nnjax"]),
        ANY_JSON,
    )
    def declared(name, what, anything):
        path.write_bytes(headed(header | {name: header[name] | {what: anything}}, body))
        read_any_model(path)

    for try_many in (damaged, said, declared):
        try_many()


BOUNDED = """
import resource, sys
from pathlib import Path
from fuzz import targets
import test_fuzz

path = Path(sys.argv[1])
convolutional = targets.a_convolutional_model(path), *targets.parts(path)
assert targets.read_any_model(path)
whole = targets.a_model(path), *targets.parts(path)
assert targets.read_any_model(path)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 300 * 2**20,) * 2)
test_fuzz.refuse(path, test_fuzz.hostile_models(*whole))
test_fuzz.try_models_of_chance(path, *whole)
test_fuzz.refuse(path, test_fuzz.hostile_convolutions(*convolutional))
test_fuzz.try_models_of_chance(path, *convolutional)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to bound its memory")
def test_no_model_file_takes_300_megabytes(tmp_path):
    """In a process of its own, that may not have them."""
    roots = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", BOUNDED, tmp_path / "m"], check=True, env=os.environ | {"PYTHONPATH": roots}
    )
