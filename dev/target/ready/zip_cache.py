# ruff: noqa: PTH105, PTH123  # each start of Python would have to import pathlib
"""Has Python remember what it compiled of a zip file: Ansible sends each call of a module as source, half of whose time it takes to compile it."""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

PLACE = "/var/cache/zip-modules"
compile_source = zipimport._compile_source


def remembered(path: str, source: bytes) -> CodeType:
    """The code of a source, from the last time that it was compiled if root may write that down."""
    place = f"{PLACE}/{_imp.source_hash(0, source).hex()}"
    try:
        with open(place, "rb") as file:
            code: CodeType = marshal.load(file)
    except (OSError, EOFError, ValueError):
        code = compile_source(path, source)
        try:
            with open(f"{place}.{os.getpid()}", "wb") as file:
                marshal.dump(code, file)
            os.replace(file.name, place)
        except OSError:
            pass
    _imp._fix_co_filename(code, path)
    return code


zipimport._compile_source = remembered
