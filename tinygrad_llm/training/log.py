"""What a run leaves behind to be read by programs: a line of JSON for everything that happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinygrad_llm.files import atomic_write

Entry = dict[str, Any]


class RunLog:
    """log.jsonl: a line per logged step, evaluation, sample and error, each with its "step"."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **entry: Any) -> None:
        # Appended and closed each time: whatever happens, all earlier lines are on the disk.
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(entry))

    def forget_after(self, step: int) -> None:
        """Drop what a stopped run wrote after the checkpoint from which it goes on."""
        kept = [
            entry
            for entry in read_log(self.path)
            if entry.get("step", 0) <= step and entry.get("event") != "error"
        ]
        with atomic_write(self.path) as file:
            file.writelines(map(_line, kept))


def _line(entry: Entry) -> str:
    # NaN would be no JSON; Python's json would write it all the same.
    return json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"


def read_log(path: str | Path) -> list[Entry]:
    """The entries; a last line that a kill cut short is left out."""
    path = Path(path)
    if not path.exists():
        return []
    entries = []
    # Bytes, as the cut may be inside a character; and not splitlines(), as a text that a model
    # wrote may hold U+2028, which JSON allows within a line.
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict):
            break
        entries.append(entry)
    return entries
