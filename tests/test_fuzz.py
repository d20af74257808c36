"""Files with invalid or malicious content are rejected with a one-line message; none causes a crash."""

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
    PICTURE_FORMATS,
    check_model,
    check_picture,
    conv_model_content,
    dense_model_content,
    join_model_parts,
    picture_content,
    split_model_file,
)
from nnjax.recognition import open_picture

# Pictures


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, bits=8, color_type=2, *chunks):
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*entries, next_directory=0):
    """A little-endian TIFF with one directory, whose entries are (tag, type, count, value)."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", next_directory)


BMP, WEBP, JPEG = (picture_content(kind) for kind in ("BMP", "WEBP", "JPEG"))
HOSTILE_PICTURES = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"this is not a picture\n" * 9,
    "png of width 0": png(0, 10),
    "png that declares 4 gigapixels": png(65_500, 65_500),
    "png of 16 exabytes": png(2**31 - 1, 2**31 - 1, 16, 6),
    "png without pixels": png(9, 9),
    "png with too few pixels": png(9, 9, 8, 2, chunk(b"IDAT", zlib.compress(b"\0" * 5))),
    "png whose pixels are not zlib": png(9, 9, 8, 2, chunk(b"IDAT", b"\xff" * 50)),
    "png of an unknown color type": png(9, 9, 8, 77),
    "png with a bomb of text": png(9, 9, 8, 2, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 10**8))),
    "png without its palette": png(4, 4, 8, 3, chunk(b"IDAT", zlib.compress(b"\0\7\7\7\7" * 4))),
    "tiff whose directory is its own successor": tiff((256, 3, 1, 9), (257, 3, 1, 9), next_directory=8),
    "tiff with negative strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1, 2**32 - 1), (279, 4, 1, 9)),
    "tiff with a billion strips": tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 10**9, 8)),
    "gif with one color and no image": b"GIF89a\x09\0\x09\0\x80\0\0\0\0\0\xff\xff\xff;",
    "ppm with letters for numbers": b"P6 9 nine 255\n",
    "ppm with a huge maximum": b"P6 9 9 99999999\n" + bytes(300),
    "bmp with a negative height": BMP[:22] + struct.pack("<i", -(2**31)) + BMP[26:],
    "PostScript program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "webp that ends in its header": WEBP[:20],
    "jpeg that ends in its header": JPEG[:20],
}


@pytest.mark.parametrize("name", HOSTILE_PICTURES)
def test_a_hostile_picture_is_opened_or_rejected_in_one_line(tmp_path, name):
    path = tmp_path / "picture"
    path.write_bytes(HOSTILE_PICTURES[name])
    check_picture(path)


def test_postscript_is_not_run(tmp_path):
    path = tmp_path / "picture.eps"
    path.write_bytes(HOSTILE_PICTURES["PostScript program"])
    with pytest.raises(ValueError, match="must be a picture in a format that Pillow opens"):
        open_picture(path)


@pytest.mark.parametrize("kind", PICTURE_FORMATS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_picture_is_opened_or_rejected_in_one_line(tmp_path, kind, data):
    content = bytearray(picture_content(kind))
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert check_picture(path) is not None
    position = st.integers(0, len(content) - 1)
    for i, byte in data.draw(st.lists(st.tuples(position, st.integers(0, 255)))):
        content[i] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    check_picture(path)


# Model files


@pytest.fixture(scope="module")
def dense_model(tmp_path_factory):
    """The content of a valid model file, its metadata and its tensors."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    return dense_model_content(path), *split_model_file(path)


def join_header(header, body):
    """The content of a safetensors file; the header is JSON values or bytes."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + body


def split_header(content):
    """The header of a safetensors file as JSON values, and the body."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def with_header(content, **changes):
    """The content of a model file whose header describes the tensor 0.w differently."""
    header, body = split_header(content)
    return join_header(header | {"0.w": header["0.w"] | changes}, body)


NAN, INF = np.full((3, 9), np.nan, np.float32), np.full(3, np.inf, np.float32)
HEADERS = {
    "2**60 rows": {"shape": [2**60, 9]},
    "a size that overflows": {"shape": [2**32, 2**32]},
    "a negative size": {"shape": [-3, 9]},
    "no rows": {"shape": [0, 2**62], "data_offsets": [0, 0]},
    "float sizes": {"shape": [3.0, 9.0]},
    "ten thousand dimensions": {"shape": [1] * 10_000},
    "an offset beyond the end": {"data_offsets": [0, 2**40]},
    "an offset that overlaps": {"data_offsets": [4, 112]},
    "an end before its begin": {"data_offsets": [108, 0]},
    "an unknown dtype": {"dtype": "F31"},
    "eight bits": {"dtype": "F8_E4M3", "shape": [108]},
    "integers": {"dtype": "I32"},
}
METADATA = {
    "a size of 2**60": {"sizes": [9, 2**60, 2]},
    "a negative size": {"sizes": [9, -3, 2]},
    "float sizes": {"sizes": [9, 3.0, 2]},
    "text for sizes": {"sizes": "932"},
    "a hundred thousand layers": {"sizes": [9] * 100_000},
    "another format": {"format": 10},
    "an escape sequence for a format": {"format": "\x1b]0;x\a"},
    "float image sides": {"input_shape": [3.9, 3.9]},
    "images of a hundred dimensions": {"input_shape": [3, 3, *[1] * 100]},
    "negative image sides": {"input_shape": [-3, -3]},
    "a float box": {"layout": {"box": [2.5, 2.5], "stretched": True}},
    "10**30 labels": {"num_classes": 10**30},
    "a float number of labels": {"num_classes": 2.5},
    "a list for a name": {"activation": ["sigmoid"]},
    "a name of a megabyte": {"activation": "s" * 900_000},
    "a temperature of NaN": {"temperature": float("nan")},
    "a number for settings": {"settings": 5},
}
CONV_METADATA = {
    "2 billion pixels": {"input_shape": [32768, 65535], "kernel_size": [1, 1], "channels": [1] * 15},
    "patches of 4 million pixels": {
        "input_shape": [2048, 2048],
        "kernel_size": [2047, 2047],
        "channels": [1],
    },
    "a million channels": {"channels": [1_000_000]},
    "a hundred thousand convolutions": {"channels": [1] * 100_000, "kernel_size": [1, 1], "pool": [1, 1]},
    "a kernel size of 10**30": {"kernel_size": [10**30] * 2, "padding": "SAME"},
    "a stride of 10**30": {"stride": [10**30] * 2, "padding": "SAME"},
    "no kernel size": {"kernel_size": None},
    "a kernel size of 0": {"kernel_size": [3, 0]},
    "true for a kernel size": {"kernel_size": [True, True]},
    "a float kernel size": {"kernel_size": [3.0, 3.0]},
    "three sides of a kernel": {"kernel_size": [3, 3, 3]},
    "a pool of 0": {"pool": [0, 2]},
    "an unknown padding": {"padding": "FULL"},
    "a list for a padding": {"padding": ["SAME"]},
    "text for channels": {"channels": "2"},
    "a mapping for channels": {"channels": {"2": 2}},
    "true for a number of channels": {"channels": [True]},
    "negative channels": {"channels": [-2]},
    "a kernel size without channels": {"channels": []},
    "one-dimensional inputs": {"input_shape": [16]},
    "a cost that needs logits": {"cost": "softmax_cross_entropy"},
}
TENSORS = {
    "NaN weights": {"0.w": NAN},
    "infinite biases": {"0.b": INF},
    "float64 beyond the range of float32": {"0.b": np.full(3, 1e300)},
    "a tensor named like a path": {"../../x": np.zeros(3, np.float32)},
    "a tensor without a name": {"": np.zeros(3, np.float32)},
    "one layer too many": {"2.w": np.zeros((2, 2), np.float32)},
    "a bias without dimensions": {"0.b": np.zeros((), np.float32)},
}
EXTRA_TENSOR = b'"9.w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def hostile_models(content, metadata, tensors):
    """The names and contents of model files that must be rejected."""
    header, body = split_header(content)
    many_keys = header["__metadata__"] | {f"key {i}": "" for i in range(10_000)}
    incomplete = {name: tensor for name, tensor in tensors.items() if name != "1.b"}
    assert len(incomplete) == len(tensors) - 1
    yield from {
        "empty": b"",
        "text": b"this is not a model\n" * 9,
        "a picture": picture_content("PNG"),
        "a header of 2**60 bytes": struct.pack("<Q", 2**60) + content[8:],
        "a header of 2 MB": join_header(header | {"__metadata__": {"nnjax": " " * 2_000_000}}, body),
        "a header that is not JSON": join_header(b"{" + bytes(500), body),
        "a header of brackets": join_header(b"{" * 900_000, body),
        "ten thousand metadata keys": join_header(header | {"__metadata__": many_keys}, body),
        "a tensor twice": join_header(b"{" + EXTRA_TENSOR + b"," + EXTRA_TENSOR + b"}", bytes(4)),
        "the end missing": content[:-4],
        "more at the end": content + bytes(4),
        "deeply nested metadata": join_model_parts("[" * 400_000, tensors),
        "metadata that is a list": join_model_parts("[]", tensors),
        "metadata of 300,000 lists": join_model_parts(f"[{'[],' * 300_000}0]", tensors),
        "metadata that is a number of a megabyte": join_model_parts("9" * 900_000, tensors),
        "a missing bias": join_model_parts(json.dumps(metadata), incomplete),
    }.items()
    for name, changes in HEADERS.items():
        yield f"a header with {name}", with_header(content, **changes)
    for name, changes in METADATA.items():
        yield name, join_model_parts(json.dumps(metadata | changes), tensors)
    for name, changes in TENSORS.items():
        yield name, join_model_parts(json.dumps(metadata), tensors | changes)


def hostile_conv_models(content, metadata, tensors):
    """The same for model files with a convolution."""
    for name, changes in CONV_METADATA.items():
        yield name, join_model_parts(json.dumps(metadata | changes), tensors)


def check_rejected(path, contents):
    for name, content in contents:
        path.write_bytes(content)
        assert check_model(path) is None, name


@pytest.mark.slow
def test_valid_models_pass_every_check(tmp_path):
    path = tmp_path / "m.safetensors"
    for content in (dense_model_content, conv_model_content):
        content(path)
        model = check_model(path)
        assert model is not None
        assert model.layout is not None


def test_hostile_models_are_rejected_in_one_line(tmp_path, dense_model):
    path = tmp_path / "m.safetensors"
    path.write_bytes(dense_model[0])
    assert nnjax.load_model(path).sizes == (9, 3, 2)
    check_rejected(path, hostile_models(*dense_model))


def test_hostile_convolutional_models_are_rejected_in_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    content = conv_model_content(path)
    assert nnjax.load_model(path).sizes == (16, 2, 2)
    check_rejected(path, hostile_conv_models(content, *split_model_file(path)))


def test_a_header_of_hundreds_of_megabytes_is_rejected_before_it_is_loaded(tmp_path):
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


def check_random_models(path, content, metadata, tensors):
    """Checks files with changed bytes, and files whose metadata and header have random values."""
    header, body = split_header(content)
    many = settings(deadline=None, max_examples=400, database=None)
    position = st.integers(0, len(content) - 1)

    @many
    @given(st.lists(st.tuples(position, st.integers(0, 255))), st.integers(0, len(content)))
    def check_changed_bytes(changes, end):
        changed = bytearray(content)
        for i, byte in changes:
            changed[i] = byte
        path.write_bytes(changed[: end or None])
        check_model(path)

    @many
    @given(st.dictionaries(st.sampled_from(sorted(metadata)), ANY_JSON, min_size=1, max_size=3))
    def check_metadata(changes):
        path.write_bytes(join_model_parts(json.dumps(metadata | changes), tensors))
        check_model(path)

    @many
    @given(
        st.sampled_from(sorted(header)),
        st.sampled_from(["dtype", "shape", "data_offsets", "nnjax"]),
        ANY_JSON,
    )
    def check_header(name, key, value):
        path.write_bytes(join_header(header | {name: header[name] | {key: value}}, body))
        check_model(path)

    for check in (check_changed_bytes, check_metadata, check_header):
        check()


WITH_LIMITED_MEMORY = """
import resource, sys
from pathlib import Path
from fuzz import targets
import test_fuzz

path = Path(sys.argv[1])
convolutional = targets.conv_model_content(path), *targets.split_model_file(path)
assert targets.check_model(path)
dense = targets.dense_model_content(path), *targets.split_model_file(path)
assert targets.check_model(path)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
test_fuzz.check_rejected(path, test_fuzz.hostile_models(*dense))
test_fuzz.check_random_models(path, *dense)
test_fuzz.check_rejected(path, test_fuzz.hostile_conv_models(*convolutional))
test_fuzz.check_random_models(path, *convolutional)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to limit memory")
def test_no_model_file_needs_300_megabytes(tmp_path):
    """In a separate process whose memory is limited."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", WITH_LIMITED_MEMORY, tmp_path / "m"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": paths})
