"""What the package is called, needs and brings. The tools' settings stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
# Read, not imported: the packages that it needs are not there yet.
package_source = (HERE / "tinygrad_llm" / "__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__ = "(.+)"', package_source, re.MULTILINE)[1]  # type: ignore[index]

# kernels/ and lessons/ stand at the top of the repository so that a reader finds them; installed,
# they are tinygrad_llm.kernels and tinygrad_llm.lessons, so that no general name is claimed in
# anybody's environment. This mapping is the truth, for Windows and source archives too; the
# symlinks inside tinygrad_llm/ serve checkouts, editable installs and type checkers.
ROOMS_AT_THE_TOP = ("kernels", "lessons")

packages = find_packages(
    include=["tinygrad_llm", "tinygrad_llm.*"],
    exclude=[f"tinygrad_llm.{room}{rest}" for room in ROOMS_AT_THE_TOP for rest in ("", ".*")],
)
package_dir = {"tinygrad_llm": "tinygrad_llm"}
for room in ROOMS_AT_THE_TOP:
    package_dir[f"tinygrad_llm.{room}"] = room
    packages.append(f"tinygrad_llm.{room}")
    packages += [f"tinygrad_llm.{room}.{inner}" for inner in find_packages(room)]

NOT_MACOS = "; sys_platform != 'darwin'"  # neither CuPy nor cuda-bindings has wheels there
test = [
    "setuptools>=77",
    "pytest>=8",
    "pytest-xdist",
    "hypothesis",
    "ruff",
    "mypy",
    "import-linter",
]
extras = {
    # numba-cuda's own extra brings NVRTC and the headers CuPy needs; cuBLAS does not come along.
    "cuda12": [f"cupy-cuda12x>=14{NOT_MACOS}", f"numba-cuda[cu12]>=0.30{NOT_MACOS}"],
    "cuda13": [f"cupy-cuda13x>=14{NOT_MACOS}", f"numba-cuda[cu13]>=0.30{NOT_MACOS}"],
    "lessons": ["watchfiles", "jupytext", "nbclient"],
    "test": test,
    "parity": ["torch", "transformers", "tokenizers", "tiktoken", "safetensors"],
    "mpi": ["mpi4py"],
    "docs": ["sphinx", "myst-nb"],
}

setup(
    name="tinygrad-llm",
    version=version,
    description="A language-model engine to read from the first line to the last, in NumPy",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=packages,
    package_dir=package_dir,
    package_data={
        "tinygrad_llm": ["py.typed"],
        "tinygrad_llm.kernels": ["**/*.cu", "**/*.cuh", "**/*.h"],
        "tinygrad_llm.lessons": ["**/*"],
    },
    install_requires=["numpy>=2", "numba", "matplotlib", "regex", "click", "rich"],
    extras_require=extras,
    entry_points={"console_scripts": ["tllm = tinygrad_llm.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
