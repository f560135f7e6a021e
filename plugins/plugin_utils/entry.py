# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The WSGI callable as servers take it: all know a module's name and a factory, and not all an attribute or a factory's arguments."""

from __future__ import annotations

import re

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill

NAME = "flaskops_entry"


def first_name(expression: str) -> str:
    """The name in the module that a callable such as ``app.server`` or ``create_app()`` begins with."""
    return re.split(r"[.(]", expression, maxsplit=1)[0]


def needs_entry(module: str) -> bool:
    """Return whether a callable is an attribute of what its module has, as ``app:app.server``, or has arguments, as ``app:create('x')``."""
    expression = module.partition(":")[2]
    return expression.removesuffix("()") != first_name(expression)


def entry(module: str) -> str:
    """The ``module:callable`` that a server is given."""
    return f"{NAME}:application" if needs_entry(module) else module


def entry_file(module: str) -> list[Text]:
    """The file of the release that such an entry is in; none if a server takes the callable itself."""
    if not needs_entry(module):
        return []
    name, _colon, expression = module.partition(":")
    return [Text(f"{NAME}.py", fill("flask_app", "entry.py.j2", module=name, first=first_name(expression), expression=expression))]
