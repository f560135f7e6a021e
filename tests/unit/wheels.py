"""Packages that are made in a moment, so that a test builds virtual environments from them without any index."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

# A package whose builder is in its own source, so that it needs nothing to be built with; it writes beside its code, as builders do.
BACKEND = """
import pathlib, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    pathlib.Path("build").mkdir(exist_ok=True)
    name = f"{NAME}-1.0-py3-none-any.whl"
    top = pathlib.Path("src") if pathlib.Path("src").is_dir() else pathlib.Path()
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w") as wheel:
        for path in sorted(top.glob(f"{NAME}/*.py")):
            wheel.write(path, path.relative_to(top))
        wheel.writestr(f"{NAME}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\nRequires-Dist: tool\\n")
        wheel.writestr(f"{NAME}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{NAME}-1.0.dist-info/RECORD", "")
    return name
"""
PROJECT = """[project]
name = "{name}"
version = "1.0"
dependencies = ["tool"]
"""
BUILDS = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def make_wheel(directory: Path, name: str, version: str, requires: str = "") -> Path:
    """Make a wheel with one module, which knows its own version."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{name}-{version}.dist-info"
        for inside, text in {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\n"
            + (f"Requires-Dist: {requires}\n" if requires else ""),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }.items():
            wheel.writestr(zipfile.ZipInfo(inside, (2026, 1, 1, 0, 0, 0)), text)  # the same bytes whenever it is made
    return path


def sha256(path: Path) -> str:
    """The hash of a file, as requirements name it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def package(name: str, project: str = PROJECT + BUILDS, layout: str = "") -> dict[str, str]:
    """The files of a package that requires `tool`; its code may be below a directory such as `src/`."""
    return {"pyproject.toml": project.format(name=name), "backend.py": f"NAME = {name!r}\n{BACKEND}", f"{layout}{name}/__init__.py": "VALUE = 1\n"}
