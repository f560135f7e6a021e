"""Sphinx's settings for the site that dev/docs builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx

GALAXY = yaml.safe_load((Path(__file__).resolve().parents[2] / "galaxy.yml").read_text(encoding="utf-8"))
ANSIBLE = "https://docs.ansible.com/ansible/latest"
# The pages of the labels to which antsibull-docs links in Ansible's own documentation: the build fetches nothing.
ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}

project = "flaskops.hosting"
author = "flaskops contributors"
version = release = GALAXY["version"]
html_title = f"{project} {version}"
extensions = ["myst_parser", "sphinx_antsibull_ext", "sphinx_copybutton"]
root_doc = "index"
# These lists are left out, because the first page has a list of its own.
exclude_patterns = ["reference/index.rst", "reference/environment_variables.rst"]
# A heading's anchor is the one that GitHub gives it, so a link between files works in both places.
myst_heading_anchors = 3
# Most examples are commands and messages.
highlight_language = "none"
# A message is shown as it is printed.
smartquotes = False

html_theme = "furo"
html_theme_options = {"footer_icons": [{"name": "Repository", "url": GALAXY["repository"], "html": "Repository"}]}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
# The colors of antsibull-docs follow the machine's setting, not the reader's choice of light or dark. Those in site.css follow the choice.
antsibull_ext_color_scheme = "none"


def link_to_ansible(_app: Sphinx, _environment: Any, node: nodes.Element, text: nodes.TextElement) -> nodes.reference | None:
    """Resolve a label of Ansible's own documentation, or of another collection's."""
    label = node["reftarget"]
    page = ANSIBLE_PAGES.get(label)
    if label.startswith("ansible_collections."):
        page = f"{label.partition('#')[0].replace('.', '/').replace('ansible_collections/', 'collections/')}.html"
    return nodes.reference("", "", text, internal=False, refuri=f"{ANSIBLE}/{page}") if page else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", link_to_ansible)
