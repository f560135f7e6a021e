#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of the modules that host apps, in one module, which Ansible packs once for a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_part
short_description: The host's part of the modules that host apps
version_added: 0.2.0
description:
  - Not for playbooks. The actions of the other modules call it, once they have checked their options, and rendered and packed what the host needs.
  - In each run, Ansible reads and packs a module with all that it imports. As this is one module instead of five, it does so once.
author: flaskops contributors (@flaskops)
options:
  module:
    description: The module whose part it is.
    type: str
    choices: [certificate, config_files, firewall, release, survey]
    required: true
  options:
    description: The options of that module. They are checked here.
    type: dict
    required: true
  payload:
    description: The module's option of this name, whose value nobody must see.
    type: str
attributes:
  check_mode:
    support: full
    description: As with the module whose part it is.
  diff_mode:
    support: full
    description: As with the module whose part it is.
"""

EXAMPLES = r"""
- name: Look at the host
  flaskops.hosting.host_part:
    module: survey
    options: {status: true}
"""

RETURN = r"""
msg:
  description: Why it failed. All other values are as the page of the module says.
  returned: failure
  type: str
  sample: "config_files: missing required arguments: files"
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.module_utils.command import settle

if TYPE_CHECKING:  # Ansible packs what is named here. A host imports, and so compiles, only the part that it is asked for.
    from ansible_collections.flaskops.hosting.plugins.module_utils import (  # noqa: F401
        host_certificate,
        host_config_files,
        host_firewall,
        host_release,
        host_survey,
    )


PARTS = ["certificate", "config_files", "firewall", "release", "survey"]


class Part(Protocol):
    """What ``host_*.py`` of ``module_utils`` have in common; one also has ``REQUIRED_IF`` and ``REQUIRED_BY``, as Ansible knows them."""

    ARGUMENTS: dict[str, Any]

    def answer(self, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        """Do the work, and return the module's result, with ``warnings`` if there are any, and with ``failed`` and ``msg`` if it failed."""


def part_of(module: str) -> Part:
    """The host's part of a module."""
    part: Any = import_module(f"ansible_collections.flaskops.hosting.plugins.module_utils.host_{module}")
    return part  # type: ignore[no-any-return]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "module": {"type": "str", "choices": PARTS, "required": True},
            "options": {"type": "dict", "required": True},
            "payload": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    settle()
    name, options, payload = (module.params[key] for key in ("module", "options", "payload"))
    part = part_of(name)
    required = {rule: getattr(part, rule.upper(), None) for rule in ("required_if", "required_by")}
    checked = ArgumentSpecValidator(part.ARGUMENTS, **required).validate({**options, **({"payload": payload} if payload else {})})
    if checked.error_messages:
        module.fail_json(msg=f"{name}: {'; '.join(checked.error_messages)}")
    result = part.answer(checked.validated_parameters, module.check_mode)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
