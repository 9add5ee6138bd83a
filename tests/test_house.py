"""Rules of the house that no tool checks by itself, over the files of the project."""

import ast
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from tinygrad_llm import errors

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("kernels", "lessons")  # stand at the top, installed inside the package
TOP = ("tinygrad_llm", *ROOMS, "benchmarks", "tests")


def _tracked() -> list[Path]:
    """The files of the project: git's, or what lies there in a copy without git."""
    if (ROOT / ".git").exists():
        names = subprocess.run(
            ["git", "ls-files", "-z", "--deduplicate"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    else:
        # The folders named in TOP and the files beside them, not the environments and caches.
        inside = (path for top in TOP for path in (ROOT / top).rglob("*"))
        found = [*ROOT.glob("*"), *(ROOT / ".ci").glob("*"), *inside]
        found = [path for path in found if "__pycache__" not in path.parts]
    rooms = {ROOT / "tinygrad_llm" / room for room in ROOMS}
    # The two symlinks lead to folders that are listed under their own names.
    return [
        path
        for path in found
        if path.is_file() and not path.is_symlink() and not rooms & set(path.parents)
    ]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PYTHON = [path for path in _tracked() if path.suffix == ".py"]


def test_the_walk_finds_the_project():
    names = {_name(path) for path in PYTHON}
    assert {"setup.py", "tests/test_house.py", "tinygrad_llm/errors.py"} <= names
    assert "kernels/__init__.py" in names
    assert not any(name.startswith("tinygrad_llm/kernels/") for name in names)


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_at_the_top_are_in_the_package(room):
    link = ROOT / "tinygrad_llm" / room
    if not link.is_dir():
        pytest.skip("a checkout without symlinks")
    assert link.resolve() == (ROOT / room).resolve()


def test_a_file_has_one_subject_and_is_not_long():
    long = {}
    for path in PYTHON:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > 400 and path.parts[len(ROOT.parts)] != "tests":
            long[_name(path)] = lines
    assert not long, "about 300 lines are the rule; split these by subject"


def test_no_two_files_have_the_same_body():
    bodies = defaultdict(list)
    for path in PYTHON:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if tree.body and isinstance(tree.body[0], ast.Expr):
            del tree.body[0]  # another docstring does not make it another file
        if tree.body:
            digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
            bodies[digest].append(_name(path))
    assert not [names for names in bodies.values() if len(names) > 1]


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything and does nothing with it."""
    blanket = handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )
    idle = all(
        isinstance(line, ast.Pass | ast.Continue)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in handler.body
    )
    return blanket and idle


def _suppresses_all(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and any(ast.unparse(arg) in ("Exception", "BaseException") for arg in node.args)
    )


def test_no_exception_is_swallowed():
    found = [
        f"{_name(path)}:{node.lineno}"
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ExceptHandler) and _swallows(node)) or _suppresses_all(node)
    ]
    assert not found


@pytest.mark.parametrize(
    ("code", "swallowed"),
    [
        ("try: x\nexcept: pass", True),
        ("try: x\nexcept Exception:\n  'why'\n  pass", True),
        ("for y in x:\n  try: x\n  except BaseException: continue", True),
        ("try: x\nexcept Exception: raise", False),
        ("try: x\nexcept KeyError: pass", False),
    ],
)
def test_the_check_for_swallowed_exceptions_tells_them_apart(code, swallowed):
    handlers = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ExceptHandler)]
    assert [_swallows(handler) for handler in handlers] == [swallowed]


def test_every_folder_of_the_package_is_installed():
    """Without an __init__.py a folder works in a checkout and is missing in an installation."""
    folders = {path.parent for path in PYTHON if path.is_relative_to(ROOT / "tinygrad_llm")}
    assert not [_name(folder) for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.slow
def test_the_wheel_holds_the_package_the_kernels_and_the_lessons(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "copy"
    for path in _tracked():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    extra = ["kernels/softmax/1_naive.cu", "kernels/common.cuh", "lessons/01_counting/text.md"]
    for name in extra:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("x")
    (copy / "kernels" / "softmax" / "__init__.py").write_text("")
    for room in ROOMS:  # what an installation from a checkout meets
        (copy / "tinygrad_llm" / room).symlink_to(Path("..") / room)
    script = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=copy,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if ".dist-info/" not in name]
    sources = [path for path in PYTHON if path.parts[len(ROOT.parts)] in ("tinygrad_llm", *ROOMS)]
    wanted = {_name(path) for path in sources} | {*extra, "kernels/softmax/__init__.py"}
    wanted = {
        name if name.startswith("tinygrad_llm/") else f"tinygrad_llm/{name}" for name in wanted
    }
    assert wanted <= set(inside)
    assert len(set(inside)) == len(inside)
    assert {name.split("/")[0] for name in inside} == {"tinygrad_llm"}


def test_no_path_of_somebodys_machine():
    # Spelled in parts, so that this file does not find itself.
    folders = "|".join(["ho" + "me", "Us" + "ers", "ro" + "ot", "wo" + "rk", "opt/" + "venv"])
    pattern = re.compile(rf"(?<![\w.~>)}}/-])/(?:{folders})/[\w.]")
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{_name(path)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert not found


def test_arrows_point_down_only():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed")
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None) == (
        EXIT_STATUS_SUCCESS
    )


def test_every_room_has_its_place_in_the_order():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = set(re.findall(r"\w+", " ".join(layers)))
    package = ROOT / "tinygrad_llm"
    rooms = {path.stem for path in package.glob("*.py")} - {"__init__"}
    rooms |= {path.parent.name for path in package.glob("*/__init__.py")} - {"lessons"}
    assert rooms <= placed, "name these in the layers of pyproject.toml"


def test_importing_the_package_needs_numpy_alone():
    # None in sys.modules makes an import fail, as if the package were not installed.
    script = (
        "import sys\n"
        "absent = 'numba regex click rich matplotlib cupy torch transformers safetensors'.split()\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "import tinygrad_llm"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=120)


ERRORS = [value for value in vars(errors).values() if isinstance(value, type) and value.__doc__]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_a_user_error_and_a_builtin_one_and_says_its_message(error):
    assert issubclass(error, errors.UserError)
    assert str(error("config.json: n_head=5")) == "config.json: n_head=5"
    if error is not errors.UserError:
        assert issubclass(error, (ValueError, OSError, ArithmeticError))
