# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions have in common that check the variables of an app."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.flaskops.hosting.plugins.plugin_utils import tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import ACME, FILES
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_action import HostAction, controller_file
from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_names import ascii_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.printable import printable
from ansible_collections.flaskops.hosting.plugins.plugin_utils.requirements import read_requirements
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings, problems_of_module, problems_of_static
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import open_source
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_git import is_repository
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import Topology, topology_of

APP = "flask_app"


class AppAction(HostAction):
    """An action that checks variables on the controller, so that a mistake costs no round trip."""

    def settings(self, roles: list[str], own: dict[str, Any], variables: dict[str, Any]) -> Settings:
        """The variables of some roles, of which an app's or a database's ``own`` win over the host's."""
        return Settings(roles, variables, own, self._load, self._render)

    def check(self, own: dict[str, Any], role_topology: str, variables: dict[str, Any]) -> tuple[dict[str, Any], Topology | None, list[str]]:
        """An app's settings, its topology, which is ``None`` if it is to go, and what is wrong with it. Raises ``TopologyError``."""
        topology = None
        if self.value("flask_app_state", own, variables) != "absent":  # removing goes by what the host has noted
            name, given = (self.value(key, own, variables) for key in ("flask_app_name", "flask_app_topology"))
            topology = topology_of(f"the app {name}" if name else "an app", given, role_topology, variables.get("group_names", []))
        found = self.settings(topology.roles if topology else [APP], own, variables)
        problems = found.problems or list(self._problems_of_tls(found.values, topology, variables))
        if topology and not problems and not is_repository(found.values["flask_app_source"]):  # that is fetched later
            problems = problems_of_source(found.values)
        return found.values, topology, problems

    def _problems_of_tls(self, values: dict[str, Any], topology: Topology | None, variables: dict[str, Any]) -> Iterator[str]:
        if topology is None:
            return
        problems = list(tls.problems_of_tls(values, topology.front is not None))
        yield from problems
        if problems or not any(values[f"flask_app_{name}"] for name in ("tls", "acme_ca_file", "acme_eab")):
            return
        # here, because cryptography costs each run as much as ten modules of ours, and not each has a certificate
        from ansible_collections.flaskops.hosting.plugins.plugin_utils import certificate_files  # noqa: PLC0415

        names = [ascii_name(str(name)) for name in values["flask_app_server_names"]]
        try:
            if values["flask_app_tls"] == FILES:
                certificate, key = (controller_file(self, values[f"flask_app_tls_{name}"]) for name in ("certificate", "key"))
                yield from certificate_files.problems_of_pair(certificate, key, names, datetime.now(timezone.utc))
            if values["flask_app_acme_ca_file"]:
                yield from certificate_files.problems_of_ca_file(controller_file(self, values["flask_app_acme_ca_file"]))
            if values["flask_app_acme_eab"]:
                yield from certificate_files.problems_of_eab(controller_file(self, values["flask_app_acme_eab"]))
        except AnsibleError as error:  # no such file, or one that cannot be decrypted
            yield f"flask_app_tls: {error}"
        if values["flask_app_tls"] == ACME:
            yield from tls.problems_of_other_hosts(names, variables)

    def value(self, name: str, own: dict[str, Any], variables: dict[str, Any]) -> str:
        """A variable that must be known before the others can be checked; empty if it is not given."""
        value = own.get(name, variables.get(name, ""))
        return str(self._render(value, {**variables, **own}) or "")

    def _load(self, path: Path) -> Any:
        # the roles' own files, so their templates may be trusted; before ansible-core 2.19 all are
        trusts = "trusted_as_template" in inspect.signature(self._loader.load_from_file).parameters
        return self._loader.load_from_file(str(path), **({"trusted_as_template": True} if trusts else {}))

    def _render(self, value: Any, variables: dict[str, Any]) -> Any:
        return self._templar.copy_with_new_env(available_variables=variables).template(value)


def problems_of_source(values: dict[str, Any], shipped: bool = False) -> list[str]:
    """What an app's source lacks, as far as that shows without its host; also what is there and not ``shipped``, if that is asked for."""
    try:
        with open_source(values["flask_app_source"], values["flask_app_version"], values["flask_app_exclude"]) as source:
            required = read_requirements(source.directory, values["flask_app_requirements"], build="")
            if shipped:
                source.require(required.files)
            if values["flask_app_build"]:  # what is not there may be made
                return []
            return [
                *problems_of_module(source.directory, values["flask_app_module"], requires=bool(required.file)),
                *problems_of_static(source.directory, values["flask_app_static"]),
            ]
    except SourceError as error:
        return [str(error)]


def rejection(problems: list[str]) -> dict[str, Any]:
    """A task's result that lists all problems."""
    result: dict[str, Any] = printable({"failed": True, "changed": False, "msg": "\n".join([*problems, "Nothing was changed."])})
    return result
