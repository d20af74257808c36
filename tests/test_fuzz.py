"""Untrusted files: any bytes load or raise a ValueError with a message of one line; nothing crashes."""

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
    join_model,
    load_any_model,
    open_any_picture,
    small_convolutional_model,
    small_model,
    small_picture,
    split_model,
)
from nnjax.recognition import open_picture

# --- pictures ---


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, bits=8, colors=2, *chunks):
    header = struct.pack(">IIBBBBB", width, height, bits, colors, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*entries, after=0):
    """A little-endian TIFF of one directory whose entries are (tag, type, count, value)."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", after)


BMP = small_picture("BMP")
CORPUS = {
    "an empty file": b"",
    "one byte": b"\x89",
    "text": b"these are no pixels\n" * 9,
    "a png of width 0": png(0, 10),
    "a png that declares 4 gigapixels": png(65_500, 65_500),
    "a png of 16 exabytes": png(2**31 - 1, 2**31 - 1, 16, 6),
    "a png without pixels": png(9, 9),
    "a png with too few pixels": png(9, 9, 8, 2, chunk(b"IDAT", zlib.compress(b"\0" * 5))),
    "a png whose pixels are not zlib": png(9, 9, 8, 2, chunk(b"IDAT", b"\xff" * 50)),
    "a png of an unknown color type": png(9, 9, 8, 77),
    "a png with a bomb of text": png(9, 9, 8, 2, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 10**8))),
    "an empty palette": png(4, 4, 8, 3, chunk(b"IDAT", zlib.compress(b"\0\7\7\7\7" * 4))),
    "a tiff whose directory follows itself": tiff((256, 3, 1, 9), (257, 3, 1, 9), after=8),
    "a tiff of negative strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1, 2**32 - 1), (279, 4, 1, 9)),
    "a tiff with a billion strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 10**9, 8)),
    "a gif of one color and no image": b"GIF89a\x09\0\x09\0\x80\0\0\0\0\0\xff\xff\xff;",
    "a ppm of letters": b"P6 9 nine 255\n",
    "a ppm of a huge maximum": b"P6 9 9 99999999\n" + bytes(300),
    "a bmp of a negative height": small_picture("BMP")[:22]
    + struct.pack("<i", -(2**31))
    + small_picture("BMP")[26:],
    "a program in PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "a webp that ends in its header": small_picture("WEBP")[:20],
    "a jpeg that ends in its header": small_picture("JPEG")[:20],
}


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_pictures_raise_a_message_of_one_line(tmp_path, name):
    path = tmp_path / "picture"
    path.write_bytes(CORPUS[name])
    open_any_picture(path)


def test_postscript_is_not_run(tmp_path):
    path = tmp_path / "picture.eps"
    path.write_bytes(CORPUS["a program in PostScript"])
    with pytest.raises(ValueError, match="picture"):
        open_picture(path)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pictures_open_or_raise_a_message_of_one_line(tmp_path, kind, data):
    content = bytearray(small_picture(kind))
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert open_any_picture(path) is not None
    for index, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[index] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    open_any_picture(path)


# --- model files ---


@pytest.fixture(scope="module")
def dense_model(tmp_path_factory):
    """A model file, its metadata, and its tensors."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    return small_model(path), *split_model(path)


def with_header(header, body):
    """A file with this header, JSON or bytes, and this body."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + body


def split_header(content):
    """The header and the body of a model file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def change_header(content, **changes):
    """A model file with changes in its header's entry for the tensor 0.w."""
    header, body = split_header(content)
    return with_header(header | {"0.w": header["0.w"] | changes}, body)


NAN, INF = np.full((3, 9), np.nan, np.float32), np.full(3, np.inf, np.float32)
HEADERS = {
    "2**60 rows": {"shape": [2**60, 9]},
    "a size that overflows": {"shape": [2**32, 2**32]},
    "a negative size": {"shape": [-3, 9]},
    "zero rows": {"shape": [0, 2**62], "data_offsets": [0, 0]},
    "sizes that are floats": {"shape": [3.0, 9.0]},
    "ten thousand dimensions": {"shape": [1] * 10_000},
    "an offset beyond the end": {"data_offsets": [0, 2**40]},
    "an offset that overlaps": {"data_offsets": [4, 112]},
    "an offset that ends before it starts": {"data_offsets": [108, 0]},
    "an unknown type": {"dtype": "F31"},
    "eight bits": {"dtype": "F8_E4M3", "shape": [108]},
    "integers": {"dtype": "I32"},
}
METADATA = {
    "a size of 2**60": {"sizes": [9, 2**60, 2]},
    "a negative size": {"sizes": [9, -3, 2]},
    "sizes that are floats": {"sizes": [9, 3.0, 2]},
    "sizes that are text": {"sizes": "932"},
    "a hundred thousand layers": {"sizes": [9] * 100_000},
    "another format": {"format": 10},
    "an escape sequence for a format": {"format": "\x1b]0;x\a"},
    "images whose sides are floats": {"input_shape": [3.9, 3.9]},
    "images of a hundred dimensions": {"input_shape": [3, 3, *[1] * 100]},
    "negative images": {"input_shape": [-3, -3]},
    "a box of floats": {"layout": {"box": [2.5, 2.5], "stretched": True}},
    "too many labels": {"num_classes": 10**30},
    "labels that are floats": {"num_classes": 2.5},
    "a name that is a list": {"activation": ["sigmoid"]},
    "a name of a megabyte": {"activation": "s" * 900_000},
    "a temperature of NaN": {"temperature": float("nan")},
    "settings that are a number": {"settings": 5},
}
CONVOLUTION_METADATA = {
    "two thousand million pixels": {"input_shape": [32768, 65535], "kernel_size": 1, "channels": [1] * 15},
    "patches of four million pixels": {"input_shape": [2048, 2048], "kernel_size": 2047, "channels": [1]},
    "a million channels": {"channels": [1_000_000]},
    "a hundred thousand convolutions": {"channels": [1] * 100_000, "kernel_size": 1},
    "a kernel size of 10**30": {"kernel_size": 10**30},
    "no kernel size": {"kernel_size": None},
    "a kernel size of 0": {"kernel_size": 0},
    "a kernel size that is true": {"kernel_size": True},
    "a kernel size that is a float": {"kernel_size": 3.0},
    "channels that are text": {"channels": "2"},
    "channels that are a mapping": {"channels": {"2": 2}},
    "channels that are true": {"channels": [True]},
    "negative channels": {"channels": [-2]},
    "a kernel size without channels": {"channels": []},
    "a line of pixels": {"input_shape": [16]},
    "a cost that needs the identity as output": {"cost": "softmax_cross_entropy"},
}
TENSORS = {
    "NaN weights": {"0.w": NAN},
    "infinite biases": {"0.b": INF},
    "float64 beyond float32": {"0.b": np.full(3, 1e300)},
    "a name outside of the directory": {"../../x": np.zeros(3, np.float32)},
    "an empty name": {"": np.zeros(3, np.float32)},
    "an additional layer": {"2.w": np.zeros((2, 2), np.float32)},
    "a scalar direction": {"outlier_model.directions": np.zeros((), np.float32)},
}
EXTRA = b'"9.w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def hostile_models(content, metadata, tensors):
    """Model files that must not load, by what is wrong with them."""
    header, body = split_header(content)
    many_keys = header["__metadata__"] | {f"key {i}": "" for i in range(10_000)}
    yield from {
        "an empty file": b"",
        "text": b"these are no weights\n" * 9,
        "a picture": small_picture("PNG"),
        "a header of 2**60 bytes": struct.pack("<Q", 2**60) + content[8:],
        "a header of 2 MB": with_header(header | {"__metadata__": {"nnjax": " " * 2_000_000}}, body),
        "a header that is not JSON": with_header(b"{" + bytes(500), body),
        "a header of brackets": with_header(b"{" * 900_000, body),
        "ten thousand metadata keys": with_header(header | {"__metadata__": many_keys}, body),
        "a tensor twice": with_header(b"{" + EXTRA + b"," + EXTRA + b"}", bytes(4)),
        "a missing end": content[:-4],
        "additional bytes at the end": content + bytes(4),
        "deeply nested metadata": join_model("[" * 400_000, tensors),
        "metadata that is a list": join_model("[]", tensors),
        "metadata of a million lists": join_model(f"[{'[],' * 300_000}0]", tensors),
        "a number of a megabyte": join_model("9" * 900_000, tensors),
        "an incomplete outlier model": join_model(
            json.dumps(metadata), {k: v for k, v in tensors.items() if "noise_variance" not in k}
        ),
    }.items()
    yield from (
        (f"a header with {name}", change_header(content, **change)) for name, change in HEADERS.items()
    )
    yield from ((name, join_model(json.dumps(metadata | c), tensors)) for name, c in METADATA.items())
    yield from ((name, join_model(json.dumps(metadata), tensors | c)) for name, c in TENSORS.items())


def hostile_convolutions(content, metadata, tensors):
    """Convolutional model files that must not load, by what is wrong with them."""
    for name, change in CONVOLUTION_METADATA.items():
        yield name, join_model(json.dumps(metadata | change), tensors)


def check_none_loads(path, models):
    for name, content in models:
        path.write_bytes(content)
        assert load_any_model(path) is None, name


def test_hostile_models_raise_a_message_of_one_line(tmp_path, dense_model):
    check_none_loads(tmp_path / "m.safetensors", hostile_models(*dense_model))


def test_hostile_convolutional_models_raise_a_message_of_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    convolutional = small_convolutional_model(path), *split_model(path)
    assert load_any_model(path) is not None
    check_none_loads(path, hostile_convolutions(*convolutional))


def test_a_header_of_hundreds_of_megabytes_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 400_000_000) + b"{")
    os.truncate(path, 500_000_000)
    with pytest.raises(ValueError, match="at most 1,000,000 bytes, got 400,000,000"):
        nnjax.load_model(path)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(2**60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


def try_random_models(path, content, metadata, tensors):
    """Random changes of bytes, of headers and of metadata."""
    header, body = split_header(content)
    randomly = settings(deadline=None, max_examples=400, database=None)

    @randomly
    @given(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))),
        st.integers(0, len(content)),
    )
    def change_bytes(changes, end):
        changed = bytearray(content)
        for index, byte in changes:
            changed[index] = byte
        path.write_bytes(changed[: end or None])
        load_any_model(path)

    @randomly
    @given(st.dictionaries(st.sampled_from(sorted(metadata)), ANY_JSON, min_size=1, max_size=3))
    def change_metadata(changes):
        path.write_bytes(join_model(json.dumps(metadata | changes), tensors))
        load_any_model(path)

    @randomly
    @given(
        st.sampled_from(sorted(header)),
        st.sampled_from(["dtype", "shape", "data_offsets", "nnjax"]),
        ANY_JSON,
    )
    def change_entry(name, field, value):
        path.write_bytes(with_header(header | {name: header[name] | {field: value}}, body))
        load_any_model(path)

    for test in (change_bytes, change_metadata, change_entry):
        test()


BOUNDED = """
import resource, sys
from pathlib import Path
from fuzz import targets
import test_fuzz

path = Path(sys.argv[1])
convolutional = targets.small_convolutional_model(path), *targets.split_model(path)
assert targets.load_any_model(path)
dense = targets.small_model(path), *targets.split_model(path)
assert targets.load_any_model(path)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
test_fuzz.check_none_loads(path, test_fuzz.hostile_models(*dense))
test_fuzz.try_random_models(path, *dense)
test_fuzz.check_none_loads(path, test_fuzz.hostile_convolutions(*convolutional))
test_fuzz.try_random_models(path, *convolutional)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to limit the memory")
def test_no_model_file_takes_300_megabytes(tmp_path):
    """In a process whose memory is limited."""
    roots = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", BOUNDED, tmp_path / "m"], check=True, env=os.environ | {"PYTHONPATH": roots}
    )
