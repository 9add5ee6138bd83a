"""The data sets that have a name: where each comes from, and whether it is here already.

A data set is data, not code: name, public addresses, checksums, licence. Tasks register theirs
with `register`; `tllm data list` and `tllm data get` read `available` and `get_files`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinygrad_llm.data.text import did_you_mean
from tinygrad_llm.errors import DataError
from tinygrad_llm.fetch import ProgressCallback, cached_path, fetch
from tinygrad_llm.files import atomic_write


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set. `name` is its path below the data folder and the cache."""

    name: str
    url: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class DataSet:
    """A named data set: either files at public addresses, or text that `make` gives at once."""

    name: str
    description: str
    source: str
    licence: str
    files: tuple[RemoteFile, ...] = ()
    make: Callable[[], str] | None = None  # text that is on every machine
    kind: str = "text"  # or the task that it is for


@dataclass(frozen=True)
class Availability:
    """One line of `tllm data list`. `size` is in bytes, None where only making it would tell."""

    name: str
    description: str
    source: str
    licence: str
    kind: str
    size: int | None
    state: str  # "embedded", "local" (TINYGRAD_LLM_DATA), "cached" or "not fetched"


_data_sets: dict[str, DataSet] = {}


def register(data_set: DataSet) -> DataSet:
    """Make a data set known by its name. A name can be given only once."""
    if data_set.name in _data_sets and _data_sets[data_set.name] != data_set:
        raise ValueError(f"register: there is a data set named {data_set.name!r} already")
    if bool(data_set.files) == bool(data_set.make):
        raise ValueError(f"register: {data_set.name!r} needs either files or make, and not both")
    _data_sets[data_set.name] = data_set
    return data_set


def names() -> list[str]:
    """The known names, in the order in which they were registered."""
    return list(_data_sets)


def find(name: str) -> DataSet:
    """The data set of that name, or a DataError that suggests the nearest names."""
    if name not in _data_sets:
        raise DataError(
            f"there is no data set named {name!r}{did_you_mean(name, names())}. "
            f"Data sets: {', '.join(names())}"
        )
    return _data_sets[name]


def available() -> list[Availability]:
    """Every known data set and its state. Nothing is fetched, and no checksum computed."""
    return [
        Availability(
            name=data_set.name,
            description=data_set.description,
            source=data_set.source,
            licence=data_set.licence,
            kind=data_set.kind,
            size=sum(file.size for file in data_set.files) if data_set.files else None,
            state=_state(data_set),
        )
        for data_set in _data_sets.values()
    ]


def get_files(name: str, *, progress: ProgressCallback | bool = False) -> dict[str, Path]:
    """Every file of a data set, checked, by its base name; fetched where it is not here.

    Text that is made is written into the cache, as `NAME.txt`.
    Raises DataError for an unknown name, FetchError where a file cannot be had.
    """
    data_set = find(name)
    if data_set.make is not None:
        path = cached_path(f"{name}.txt")
        text = data_set.make()
        if not path.is_file() or path.read_bytes() != text.encode():
            with atomic_write(path) as file:
                file.write(text)
        return {path.name: path}
    return {
        Path(file.name).name: fetch(file.url, file.sha256, file.name, progress=progress)
        for file in data_set.files
    }


def get(name: str, *, progress: ProgressCallback | bool = False) -> Path:
    """The one file of a data set that has one; see `get_files`."""
    files = get_files(name, progress=progress)
    if len(files) != 1:
        raise DataError(f"{name!r} has {len(files)} files ({', '.join(files)}); use get_files")
    return next(iter(files.values()))


def _state(data_set: DataSet) -> str:
    if data_set.make is not None:
        return "embedded"
    folder = os.environ.get("TINYGRAD_LLM_DATA")
    if folder and all((Path(folder).expanduser() / file.name).is_file() for file in data_set.files):
        return "local"
    if all(cached_path(file.name).is_file() for file in data_set.files):
        return "cached"
    return "not fetched"
