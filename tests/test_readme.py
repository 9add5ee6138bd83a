"""README promises: its links lead somewhere, and its tables are what the results files say."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_every_relative_link_and_picture_is_there():
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_tables_are_those_of_the_results_files():
    marks = re.findall(r"<!-- results: (\w+) -->\n(.*?)<!-- /results: \1 -->", README, re.DOTALL)
    assert len(marks) >= 4
    assert [name for name, content in marks if "|" not in content] == []
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
