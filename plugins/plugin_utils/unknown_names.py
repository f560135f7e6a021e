# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refuses requests for names that no site has."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import Text, site_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill


def refusals(site: Site, role: str, directory: str) -> list[Text]:
    """A file for each listen of a site with names, in a ``directory`` that the front of this ``role`` reads before all sites."""
    listens = site.listens if site.names else []
    return [Text(f"{directory}/flaskops-unknown-{site_name([one], [])}.conf", fill(role, "unknown.conf.j2", listen=one)) for one in listens]
