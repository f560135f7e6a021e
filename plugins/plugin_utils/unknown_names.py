# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refuses requests for names that no site has."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import Text, site_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill

TEMPLATES = {"http": "unknown.conf.j2", "https": "unknown_tls.conf.j2"}


def refusals(site: Site, listens: list[Listen], role: str, directory: str, **values: Any) -> list[Text]:
    """A file for each of the ``listens`` of a site with names, in a ``directory`` that the front of this ``role`` reads before all sites."""
    texts = {one: fill(role, TEMPLATES[one.kind], listen=one, **values) for one in (listens if site.names else [])}
    return [Text(f"{directory}/flaskops-unknown-{site_name([one], [])}.conf", text) for one, text in texts.items()]
