# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A database's schema files on the controller."""

from __future__ import annotations

from pathlib import Path


class SchemaError(Exception):
    """The files cannot be used; the message says which one and why."""


def read_schema(paths: list[str]) -> dict[str, bytes]:
    """The files' contents by their names, in their order. Raises ``SchemaError``."""
    found: dict[str, bytes] = {}
    for given in paths:
        path = Path(str(given)).expanduser()
        if not path.is_file():
            raise SchemaError(f"{given} is no file on the controller")
        if path.name in found:
            raise SchemaError(f"two files have the name {path.name}, by which a database knows them")
        found[path.name] = path.read_bytes()
        try:
            found[path.name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError(f"{given} is not UTF-8, at byte {error.start}") from error
    return found
