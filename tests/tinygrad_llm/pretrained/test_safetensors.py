"""The safetensors reader and writer: round trips, exactness, and every kind of broken file."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.pretrained.safetensors import load_file, read_header, save_file

DTYPES = ["f8", "f4", "f2", "c8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def _bytes(entries, data=b"", length=None) -> bytes:
    """A file from its parts, with whatever is wrong in them."""
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def _entry(dtype="F32", shape=(2, 3), begin=0, end=24):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def _samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    arrays = {f"x.{d}": (rng.normal(size=(3, 5, 2)) * 40).astype(d) for d in DTYPES if d != "c8"}
    arrays["x.c8"] = rng.normal(size=4).astype("c8")
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["empty"] = np.zeros((4, 0, 3), np.int16)
    arrays["transposed"] = rng.normal(size=(7, 2)).astype("f4").T
    arrays["strided"] = np.arange(30, dtype="i8")[::3]
    arrays["big endian"] = np.arange(6, dtype=">f4").reshape(2, 3)
    arrays["größe \u4e2d"] = np.array([np.nan, np.inf, -np.inf, -0.0], "f4")
    return arrays


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip_keeps_names_dtypes_shapes_and_bits(tmp_path, mmap):
    arrays = _samples()
    save_file(arrays, tmp_path / "m.safetensors", {"note": "tüst"})
    loaded = load_file(tmp_path / "m.safetensors", mmap=mmap)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = array.astype(array.dtype.newbyteorder("="))
        assert loaded[name].dtype == expected.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == expected.tobytes()
    assert read_header(tmp_path / "m.safetensors").metadata["note"] == "tüst"


def test_mapped_arrays_are_read_only_views_of_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"x": np.ones((2, 3), "f4")}, path)
    mapped = load_file(path, mmap=True)["x"]
    assert not mapped.flags.writeable
    assert not mapped.flags.owndata
    assert load_file(path)["x"].flags.writeable


def test_no_tensors_at_all(tmp_path):
    save_file({}, tmp_path / "m.safetensors")
    assert load_file(tmp_path / "m.safetensors") == {}
    assert load_file(tmp_path / "m.safetensors", mmap=True) == {}


def test_names_pick_tensors_and_a_typo_is_answered_with_the_right_name(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"wte.weight": np.ones((2, 3), "f4"), "wpe.weight": np.zeros(4, "f4")}, path)
    assert list(load_file(path, ["wpe.weight"])) == ["wpe.weight"]
    with pytest.raises(CheckpointError, match=r"'wte\.weigth'; did you mean 'wte\.weight'"):
        load_file(path, ["wte.weigth"])


def test_reading_one_tensor_reads_no_other(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.ones(3, "f4"), "b": np.full(5, 7, "f4")}, path)
    begin = read_header(path).tensors["b"].begin + read_header(path).data_start
    content = bytearray(path.read_bytes())
    content[begin] ^= 1
    path.write_bytes(content)
    assert load_file(path, ["a"])["a"].tolist() == [1, 1, 1]
    with pytest.raises(CheckpointError, match="'b' was altered"):
        load_file(path, ["b"])


def test_the_header_tells_all_without_the_tensors(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"half": np.zeros((5, 3), "f2"), "wide": np.zeros((2, 7), "f8")}, path)
    header = read_header(path)
    assert {n: (i.dtype, i.shape, i.size) for n, i in header.tensors.items()} == {
        "wide": ("F64", (2, 7), 14),
        "half": ("F16", (5, 3), 15),
    }
    assert header.data_start % 8 == 0
    assert header.tensors["wide"].begin == 0  # widest first, so that each starts aligned


def test_every_bfloat16_comes_as_the_exact_float32(tmp_path):
    bits = np.arange(2**16, dtype="<u2")
    path = tmp_path / "b.safetensors"
    path.write_bytes(_bytes({"b": _entry("BF16", (2**16,), 0, 2**17)}, bits.tobytes()))
    loaded = load_file(path)["b"]
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded.view(np.uint32), bits.astype(np.uint32) << 16)
    # sign 1, exponent 8, fraction 7 bits, computed from the definition for the normal numbers
    sign, exponent, fraction = bits >> 15, (bits >> 7) & 0xFF, bits & 0x7F
    normal = (exponent > 0) & (exponent < 255)
    power = exponent.astype("f8") - 127
    value = (1 - 2 * sign.astype("f8")) * 2.0**power * (1 + fraction / 128)
    assert np.array_equal(loaded[normal], value[normal])


def test_a_header_of_odd_length_gives_arrays_that_kernels_can_use(tmp_path):
    data = np.arange(6, dtype="<f4")
    for spaces in range(4):
        header = json.dumps({"x": _entry()}).encode() + b" " * spaces
        path = tmp_path / f"{spaces}.safetensors"
        path.write_bytes(_bytes(header, data.tobytes()))
        for mmap in (False, True):
            loaded = load_file(path, mmap=mmap)["x"]
            assert loaded.flags.aligned
            assert np.array_equal(loaded, data.reshape(2, 3))


BROKEN = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (b"\0" * 7, "7 bytes"),
    "header longer than the file": (
        _bytes({}, length=999),
        "is truncated: its header has 999 bytes",
    ),
    "absurd header length": (b"\xff" * 8 + b"{}", "is no checkpoint: it does not begin"),
    "not JSON": (_bytes(b'{"x": '), "cannot be read"),
    "JSON but a list": (_bytes(b"[1, 2]"), "does not start with"),
    "not UTF-8": (_bytes(b'{"\xff": 1}'), "cannot be read"),
    "deep nesting": (_bytes(b'{"x":' + b"[" * 200_000), "cannot be read"),
    "a number of 5000 digits": (_bytes(b'{"x":' + b"9" * 5000 + b"}"), "cannot be read"),
    "NaN": (_bytes(b'{"x": NaN}'), "NaN is not JSON"),
    "twice the same name": (
        _bytes(b'{"x": %b, "x": %b}' % ((json.dumps(_entry()).encode(),) * 2), bytes(24)),
        "'x' stands there twice",
    ),
    "metadata not texts": (_bytes({"__metadata__": {"step": 3}}), "__metadata__"),
    "metadata a list": (_bytes({"__metadata__": [1]}), "__metadata__"),
    "entry not a table": (_bytes({"x": 3}), "tensor 'x'"),
    "entry with less": (_bytes({"x": {"dtype": "F32", "shape": []}}), "tensor 'x'"),
    "unknown dtype": (_bytes({"x": _entry("F31")}, bytes(24)), "tensor 'x' is of dtype 'F31'"),
    "dtype no text": (_bytes({"x": _entry(["F32"])}, bytes(24)), "tensor 'x' is of dtype"),
    "negative size": (_bytes({"x": _entry(shape=(-2, -3))}, bytes(24)), "tensor 'x' has the shape"),
    "size true": (_bytes({"x": _entry(shape=(True, 6))}, bytes(24)), "tensor 'x' has the shape"),
    "size a fraction": (_bytes({"x": _entry(shape=(1.0, 6))}, bytes(24)), "tensor 'x' has"),
    "offsets backwards": (_bytes({"x": _entry(begin=24, end=0)}, bytes(24)), "data_offsets"),
    "shape of other size": (
        _bytes({"x": _entry(shape=(2, 4))}, bytes(24)),
        "tensor 'x' of dtype F32 and shape .* needs 32 bytes, its data_offsets give 24",
    ),
    "truncated": (_bytes({"x": _entry()}, bytes(23)), "truncated: tensor 'x' ends at byte 24"),
    "too long": (_bytes({"x": _entry()}, bytes(26)), "2 bytes after tensor 'x'"),
    "overlap": (
        _bytes({"x": _entry(), "y": _entry(begin=20, end=44)}, bytes(44)),
        "tensor 'y' overlaps tensor 'x'",
    ),
    "hole": (
        _bytes({"x": _entry(), "y": _entry(begin=28, end=52)}, bytes(52)),
        "tensor 'y' leaves a hole after tensor 'x'",
    ),
    "hole at the start": (_bytes({"x": _entry(begin=1, end=25)}, bytes(25)), "hole after the hea"),
    "too many dimensions": (_bytes({"x": _entry("U8", (1,) * 99, 0, 1)}, b"\0"), "tensor 'x'"),
    "absurd empty shape": (_bytes({"x": _entry("F32", (0, 2**62, 2**62), 0, 0)}), "tensor 'x'"),
    "bool of 2": (_bytes({"x": _entry("BOOL", (3,), 0, 3)}, b"\0\1\2"), "tensor 'x' .* BOOL"),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, what, mmap):
    content, reason = BROKEN[what]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as error:
        load_file(path, mmap=mmap)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("where", ["nowhere/m.safetensors", "."])
def test_a_missing_file_or_a_folder_is_a_clear_error(tmp_path, where):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_file(tmp_path / where)


@pytest.mark.parametrize("step", [1, 7])
def test_every_cut_is_noticed(tmp_path, step):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.ones((2, 3), "f4"), "b": np.zeros(5, "i1")}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_file(path)


def test_every_flipped_bit_of_the_data_names_its_tensor(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.ones((2, 3), "f4"), "b": np.zeros(5, "i1")}, path)
    whole, header = path.read_bytes(), read_header(path)
    for name, info in header.tensors.items():
        for position in range(header.data_start + info.begin, header.data_start + info.end):
            for bit in range(8):
                altered = bytearray(whole)
                altered[position] ^= 1 << bit
                path.write_bytes(altered)
                with pytest.raises(CheckpointError, match=f"tensor '{name}' was altered"):
                    load_file(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"[2,3]", b"[3,2]"), (b'"a":{', b'"c":{'), (b'"F32"', b'"I32"')],
    ids=["shape", "name", "dtype"],
)
def test_a_changed_header_is_noticed(tmp_path, old, new):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.ones((2, 3), "f4"), "b": np.zeros((4,), "i1")}, path)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with pytest.raises(CheckpointError):
        load_file(path)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_never_anything_but_a_checkpoint_error(tmp_path, seed):
    """Flips, deletions, insertions and swaps of bytes anywhere, half of them in the header."""
    rng = random.Random(seed)
    path = tmp_path / "m.safetensors"
    save_file(
        {"a.weight": np.ones((2, 3), "f4"), "b": np.zeros(5, "?"), "c": np.ones(2, "u2")}, path
    )
    whole = path.read_bytes()
    end_of_header = read_header(path).data_start
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(rng.choice([9, end_of_header, len(whole)])) % len(content)
            match rng.randrange(4):
                case 0:
                    content[position] = rng.randrange(256)
                case 1:
                    del content[position : position + rng.randint(1, 9)]
                case 2:
                    content[position:position] = rng.choice([b"[", b"9" * 20, b'"', b"{}", b"-"])
                case 3:
                    content[position] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            load_file(path, mmap=rng.random() < 0.5)
        except CheckpointError:
            refused += 1
    assert refused > 130  # the rest is damage that changes nothing, as in the padding


@given(content=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, length):
    path = tmp_path_factory.mktemp("any") / "any.safetensors"
    path.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    with pytest.raises(CheckpointError):
        load_file(path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
_ANY_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "U8", "F8_E4M3"]) | _JSON,
        "shape": st.lists(st.integers(-1, 2**65), max_size=3) | _JSON,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | _JSON,
    }
)


@given(
    entries=st.dictionaries(
        st.sampled_from(["a", "b", "\ud800", "__metadata__"]), _ANY_ENTRY | _JSON, min_size=1
    ),
    data=st.binary(max_size=40),
)
def test_any_json_is_read_or_refused(tmp_path_factory, entries, data):
    path = tmp_path_factory.mktemp("json") / "any.safetensors"
    path.write_bytes(_bytes(entries, data))
    try:
        arrays = load_file(path)
    except CheckpointError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


@given(array=hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0)))
def test_any_array_comes_back(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("round") / "m.safetensors"
    save_file({"x": array}, path)
    loaded = load_file(path)["x"]
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    assert loaded.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "match"),
    [
        ({"x": np.array(["a"])}, None, TypeError, "'x' is <U1; accepted: float64"),
        ({"x": np.array([None])}, None, TypeError, "'x' is object"),
        ({"x": np.zeros(2, "c16")}, None, TypeError, "'x' is complex128"),
        ({"__metadata__": np.zeros(2)}, None, ValueError, "cannot be the name"),
        ({3: np.zeros(2)}, None, ValueError, "3 cannot be the name"),
        ({}, {"step": 3}, TypeError, "metadata 'step': 3"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path, tensors, metadata, error, match):
    path = tmp_path / "m.safetensors"
    with pytest.raises(error, match=match):
        save_file(tensors, path, metadata)
    assert not path.exists()


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_file({"x": np.ones(3, "f4")}, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_file({"x": np.zeros(3, "f4")}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parity
def test_the_reference_library_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {n: a for n, a in _samples().items() if n not in ("strided", "transposed")}
    save_file(arrays, tmp_path / "m.safetensors", {"k": "v"})
    loaded = library.load_file(tmp_path / "m.safetensors")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = array.astype(array.dtype.newbyteorder("="))
        assert loaded[name].dtype == expected.dtype
        assert loaded[name].shape == expected.shape
        assert loaded[name].tobytes() == expected.tobytes()


@pytest.mark.parity
def test_we_read_what_the_reference_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {
        n: np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))) for n, a in _samples().items()
    }
    library.save_file(arrays, tmp_path / "m.safetensors", {"k": "v"})
    loaded = load_file(tmp_path / "m.safetensors")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert loaded[name].tobytes() == array.tobytes()
    assert read_header(tmp_path / "m.safetensors").metadata == {"k": "v"}


@pytest.mark.parity
def test_bfloat16_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    x = torch.randn(9, 11, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    library.save_file({"x": x}, tmp_path / "m.safetensors")
    assert np.array_equal(load_file(tmp_path / "m.safetensors")["x"], x.float().numpy())
