# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The WSGI callable as servers take it: they know a module's name and a factory, and none of them an attribute such as ``app.server``."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill

NAME = "flaskops_entry"


def is_attribute(module: str) -> bool:
    """Return whether a callable such as ``app:app.server`` is an attribute of what its module has."""
    return "." in module.partition(":")[2]


def entry(module: str) -> str:
    """The ``module:callable`` that a server is given."""
    return f"{NAME}:application" if is_attribute(module) else module


def entry_file(module: str) -> list[Text]:
    """The file of the release that such an entry is in; none if a server takes the callable itself."""
    if not is_attribute(module):
        return []
    name, _colon, expression = module.partition(":")
    first = expression.partition(".")[0]
    return [Text(f"{NAME}.py", fill("flask_app", "entry.py.j2", module=name, first=first, expression=expression))]
