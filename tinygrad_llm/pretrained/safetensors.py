"""Tensors in a file that is nothing but numbers: the safetensors format, read and written.

The format (https://huggingface.co/docs/safetensors, "Format"; all integers little-endian):

    8 bytes   n, the length of the header (unsigned)
    n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
              "__metadata__": {text: text}}; starts with "{", may end with spaces
    the rest  the tensors, C order; offsets count from here and cover every byte exactly once

Nothing in such a file can run, so one from a stranger is safe to open, and a tensor can be read
without reading the others. What we add: a CRC-32 of each tensor in `__metadata__`, which other
readers ignore, so that a changed byte is found and the tensor named.
"""

import difflib
import json
import math
import mmap as _mmap
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.files import atomic_write

_NUMPY_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "C64": "<c8",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
# What lies in the file; NumPy has no bfloat16, so its two bytes are read as an integer first.
_STORED = {name: np.dtype(code) for name, code in _NUMPY_DTYPES.items()} | {"BF16": np.dtype("<u2")}
_NAMES = {np.dtype(code).newbyteorder("="): name for name, code in _NUMPY_DTYPES.items()}

_CHECKSUMS = "tinygrad_llm.crc32"  # key in __metadata__: {tensor name: crc} as JSON text
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the other readers


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: dtype as the format spells it, shape, bytes [begin, end) of data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file says about itself: its tensors, its metadata, and where the data begins."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a safetensors file; no tensor is read.

    Raises CheckpointError, which names the tensor, when the header and the file do not fit.
    """
    with _open(path) as file:
        return _read_header(file, path)


def load_file(
    path: str | os.PathLike[str], names: Iterable[str] | None = None, *, mmap: bool = False
) -> dict[str, np.ndarray]:
    """Read the tensors of a file, or only those in `names`, as NumPy arrays of the same dtype.

    BF16, which NumPy lacks, comes as float32 (exact). mmap=True gives read-only arrays that the
    system reads from the disk as they are used. Raises CheckpointError, which names the tensor.
    """
    with _open(path) as file:
        header = _read_header(file, path)
        wanted = list(header.tensors) if names is None else list(names)
        for name in wanted:
            if name not in header.tensors:
                close = difflib.get_close_matches(str(name), header.tensors, n=3)
                hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
                raise CheckpointError(f"{path}: there is no tensor {name!r}{hint}")
        checksums = _read_checksums(header, path)
        read = _mapped_reader(file, header) if mmap else _plain_reader(file, header)
        arrays = {}
        for name in wanted:
            info = header.tensors[name]
            raw = read(info)
            if raw.nbytes != info.end - info.begin:
                raise CheckpointError(f"{path}: tensor {name!r} is cut off; the file was changed")
            if checksums is not None and checksums[name] != _checksum(name, info, raw):
                raise CheckpointError(
                    f"{path}: tensor {name!r} was altered after it was saved (its checksum "
                    "differs); use another copy of the file"
                )
            arrays[name] = _to_array(path, name, info, raw)
        return arrays


def save_file(
    tensors: Mapping[str, np.ndarray],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays to a safetensors file, atomically: a failure leaves an older file as it was.

    metadata: text -> text, kept in the header. Arrays of any layout; they are stored in C order.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"save_file: {name!r} cannot be the name of a tensor")
        array = np.asarray(value, order="C")
        dtype = array.dtype.newbyteorder("=")
        if dtype not in _NAMES:
            accepted = ", ".join(str(known) for known in _NAMES)
            raise TypeError(f"save_file: tensor {name!r} is {array.dtype}; accepted: {accepted}")
        arrays[name] = array.astype(_STORED[_NAMES[dtype]], copy=False)
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save_file: metadata {key!r}: {text!r} is not text: text")

    # Widest elements first: each tensor then starts at a multiple of its element size.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    infos, end = {}, 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        stored = arrays[name]
        dtype_name = _NAMES[stored.dtype.newbyteorder("=")]
        infos[name] = TensorInfo(dtype_name, stored.shape, begin, end)
    checksums = {name: _checksum(name, infos[name], _as_bytes(arrays[name])) for name in order}
    entries: dict[str, Any] = {
        # "format" tells the ecosystem's readers whose axis order the weights follow: PyTorch's.
        "__metadata__": {"format": "pt", **(metadata or {}), _CHECKSUMS: json.dumps(checksums)}
    }
    for name, info in infos.items():
        offsets = [info.begin, info.end]
        entries[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": offsets}
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the data starts aligned
    if len(header) > _LONGEST_HEADER:
        raise ValueError(f"save_file: a header of {len(header):,} bytes is too long for readers")
    with atomic_write(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            file.write(_as_bytes(arrays[name]).data)


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_header(file: BinaryIO, path: str | os.PathLike[str]) -> Header:
    file_size = os.fstat(file.fileno()).st_size
    if file_size < 8:
        raise CheckpointError(
            f"{path}: is no safetensors file: {file_size} bytes, and 8 hold the header's length"
        )
    length = int.from_bytes(file.read(8), "little")
    if length > min(file_size - 8, _LONGEST_HEADER):
        if length > _LONGEST_HEADER or file.read(1) not in (b"{", b""):
            raise CheckpointError(
                f"{path}: is no checkpoint: it does not begin as a safetensors file does"
            )
        raise CheckpointError(
            f"{path}: is truncated: its header has {length:,} bytes, the file {file_size:,}"
        )
    text = file.read(length)
    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not start with '{'")
        entries = json.loads(
            text.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constants
        )
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors too
        raise CheckpointError(f"{path}: the header cannot be read: {error}") from error
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path}: the header's __metadata__ is not a table of texts")
    tensors = {name: _read_info(path, name, entry) for name, entry in entries.items()}
    _check_layout(path, tensors, file_size - 8 - length)
    return Header(tensors, metadata, 8 + length)


def _read_info(path: str | os.PathLike[str], name: str, entry: object) -> TensorInfo:
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} has an entry other than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _STORED:
        raise CheckpointError(f"{where} is of dtype {dtype!r}; known are {', '.join(_STORED)}")
    if not _are_sizes(shape):
        raise CheckpointError(f"{where} has the shape {shape!r}, which is no list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where} has the data_offsets {offsets!r}, not [begin, end]")
    info = TensorInfo(dtype, tuple(shape), *offsets)
    needed = info.size * _STORED[dtype].itemsize
    if needed != info.end - info.begin:
        raise CheckpointError(
            f"{where} of dtype {dtype} and shape {shape} needs {needed:,} bytes, "
            f"its data_offsets give {info.end - info.begin:,}"
        )
    return info


def _check_layout(
    path: str | os.PathLike[str], tensors: dict[str, TensorInfo], data_size: int
) -> None:
    """The tensors must cover the data with no overlap, no hole and nothing left over."""
    position, last = 0, "the header"
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.end > data_size:
            raise CheckpointError(
                f"{path}: is truncated: tensor {name!r} ends at byte {info.end:,} of the data, "
                f"the file has {data_size:,}"
            )
        if info.begin != position:
            what = "overlaps" if info.begin < position else "leaves a hole after"
            raise CheckpointError(f"{path}: tensor {name!r} {what} {last}")
        position, last = info.end, f"tensor {name!r}"
    if position != data_size:
        raise CheckpointError(f"{path}: {data_size - position:,} bytes after {last} belong to none")


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item < 2**63 for item in value
    )  # type(), not isinstance: True is an int too


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{name!r} stands there twice")
        table[name] = value
    return table


def _no_constants(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _read_checksums(header: Header, path: str | os.PathLike[str]) -> dict[str, int] | None:
    """The table of our own writer, or None in a file of another's."""
    if _CHECKSUMS not in header.metadata:
        return None
    try:
        checksums = json.loads(header.metadata[_CHECKSUMS])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the table of checksums was altered: {error}") from error
    if not isinstance(checksums, dict) or checksums.keys() != header.tensors.keys():
        raise CheckpointError(f"{path}: the table of checksums names other tensors than the file")
    return checksums


def _checksum(name: str, info: TensorInfo, raw: np.ndarray) -> int:
    """CRC-32 of name, dtype, shape and bytes: swapped names or a changed shape show as well."""
    what = f"{name} {info.dtype} {info.shape}".encode("utf-8", "surrogatepass")
    return zlib.crc32(raw.data, zlib.crc32(what))


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)  # reshape first: a 0-d array has no bytes to view


def _plain_reader(file: BinaryIO, header: Header) -> Callable[[TensorInfo], np.ndarray]:
    def read(info: TensorInfo) -> np.ndarray:
        file.seek(header.data_start + info.begin)
        raw = np.empty(info.end - info.begin, np.uint8)
        count = file.readinto(raw.data)  # type: ignore[attr-defined]
        return raw[:count]

    return read


def _mapped_reader(file: BinaryIO, header: Header) -> Callable[[TensorInfo], np.ndarray]:
    # The arrays keep the mapping alive; it is closed with the last of them.
    mapped = _mmap.mmap(file.fileno(), 0, access=_mmap.ACCESS_READ)
    data = np.frombuffer(mapped, np.uint8, offset=header.data_start)

    def read(info: TensorInfo) -> np.ndarray:
        return data[info.begin : info.end]

    return read


def _to_array(
    path: str | os.PathLike[str], name: str, info: TensorInfo, raw: np.ndarray
) -> np.ndarray:
    """Bytes (n,) uint8 -> the array, in the machine's byte order, without a copy where possible."""
    if info.dtype == "BOOL" and raw.size and raw.max() > 1:
        raise CheckpointError(f"{path}: tensor {name!r} of dtype BOOL holds other than 0 and 1")
    stored = _STORED[info.dtype]
    try:
        array = raw.view(stored).reshape(info.shape)
    except ValueError as error:  # more dimensions than NumPy has, or a size past its limit
        raise CheckpointError(f"{path}: tensor {name!r}: shape {info.shape}: {error}") from error
    if info.dtype == "BF16":
        # bfloat16 is the upper half of a float32: put it there, zeros below.
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.require(array.astype(stored.newbyteorder("="), copy=False), requirements="A")
