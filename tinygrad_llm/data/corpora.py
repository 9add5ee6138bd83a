"""The corpora that have a name, and reading any text: a name, a file, or a folder."""

import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tinygrad_llm.data.registry import (
    DataSet,
    RemoteFile,
    available,
    find,
    get,
    get_files,
    names,
    register,
)
from tinygrad_llm.data.text import did_you_mean, iter_path
from tinygrad_llm.errors import DataError

__all__ = ["available", "find", "get", "get_files", "iter_text", "load_text", "names", "register"]


def load_text(source: str | os.PathLike[str]) -> str:
    """All of a text at once; see `iter_text`."""
    return "".join(iter_text(source))


def iter_text(source: str | os.PathLike[str]) -> Iterator[str]:
    """A text in pieces of about a megabyte, for files larger than memory.

    source: the name of a corpus (see `names`), a text file, or a folder of text files. A name
    goes before a file of the same name; ./NAME, or a Path, is always a file.
    Raises DataError (missing, empty, binary, not UTF-8) and FetchError (no network).
    """
    if isinstance(source, str) and source in names():
        make = find(source).make
        if make is not None:
            yield make()
            return
        source = get(source)
    elif isinstance(source, str) and Path(source).name == source and not os.path.exists(source):
        near = did_you_mean(source, names() + os.listdir())
        raise DataError(
            f"{source!r} is neither a corpus nor a file here{near}. Corpora: {', '.join(names())}"
        )
    yield from iter_path(source)


def _python_topics() -> str:
    """The reference text behind Python's `help("...")`, in an order that is always the same.

    The text grows from version to version, so a number measured on it names the Python. Some
    topics repeat paragraphs of others. Those come first, so that the end of the text, which is
    held out for validation, holds no paragraph that was there in training.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # a few distributions leave it out
        raise DataError(
            "this Python comes without pydoc_data, the text of the default corpus; use a text "
            "file of your own, or the corpus 'stdlib'"
        ) from error
    paragraphs = {
        name: [" ".join(p.split()) for p in topics[name].split("\n\n")] for name in topics
    }
    seen_in = Counter(p for name in topics for p in set(paragraphs[name]) if len(p) > 40)
    unique = {name: all(seen_in[p] <= 1 for p in paragraphs[name]) for name in topics}
    return "\n".join(topics[name] for name in sorted(topics, key=lambda name: (unique[name], name)))


def _standard_library() -> str:
    """The source of the standard library, without its tests, in the order of the paths."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    texts = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - left_out)
        for name in sorted(files):
            if name.endswith(".py"):
                # A few very old files are in Latin-1; those bytes become U+FFFD.
                text = Path(parent, name).read_text(encoding="utf-8", errors="replace")
                texts.append(text if text.endswith("\n") else text + "\n")
    if not texts:
        raise DataError(f"there is no source of the standard library in {folder}")
    return "".join(texts)


register(
    DataSet(
        name="default",
        description="reference text of Python, about 465 kB of English (differs by version)",
        source="pydoc_data.topics, comes with every Python",
        licence="PSF-2.0",
        make=_python_topics,
    )
)
register(
    DataSet(
        name="stdlib",
        description="source of the standard library, about 12 MB (differs by version)",
        source="the Python that runs this",
        licence="PSF-2.0",
        make=_standard_library,
    )
)
register(
    DataSet(
        name="tinyshakespeare",
        description="plays by Shakespeare, 1.1 MB, the customary first corpus",
        source="https://github.com/karpathy/char-rnn",
        licence="public domain",
        files=(
            RemoteFile(
                name="tinyshakespeare/input.txt",
                url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/"
                "tinyshakespeare/input.txt",
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                size=1_115_394,
            ),
        ),
    )
)
