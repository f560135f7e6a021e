# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' own templates, filled in without a host and without Ansible: the same text for the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

ROLES = Path(__file__).resolve().parents[2] / "roles"
# What a release's settings cannot know before its name, which is made of them, is there; the host fills it in.
RELEASE_PATH, RELEASE_NAME = "@RELEASE_PATH@", "@RELEASE@"

# The texts are no HTML, so nothing is to be escaped. As in Ansible's own templates, a block's line leaves no line behind.
_ENGINE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROLES), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
)


def fill(role: str, name: str, **values: Any) -> str:
    """The text of a role's template. Raises ``jinja2.TemplateError`` if the template is broken or a value is missing."""
    managed = f"Ansible managed: {name.removesuffix('.j2')}"
    template = _ENGINE.get_template(f"{role}/templates/{name}")
    return template.render(ansible_managed=managed, release_path=RELEASE_PATH, release_name=RELEASE_NAME, **values)
