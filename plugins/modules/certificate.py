#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Get a certificate from a CA, and have a site served with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Get a certificate from a CA, and have a site served with it
version_added: 0.2.0
description:
  - Asks a CA for a certificate that M(flaskops.hosting.config_files) has noted on the host, unless it is there and good. Then the site is
    switched to HTTPS, and a TLS handshake must show the new certificate. If not, the site stays as it was.
  - First the host asks itself what the CA will ask it, and the CA for its directory, because neither counts as a try. A CA is asked at most
    three times in an hour, and not before the time that it has named.
  - A CA that gives no certificate is no failure of the task, so that what comes after it is done; RV(problem) has the CA's own words.
author: flaskops contributors (@flaskops)
options:
  state:
    description: V(present) gets the certificates. V(absent) removes those that this collection has got, with their keys.
    type: str
    choices: [present, absent]
    default: present
  names:
    description: Names of the certificates, as C(certbot certificates) shows them.
    type: list
    elements: str
    required: true
requirements:
  - root on the host, C(certbot) and systemd.
attributes:
  check_mode:
    support: full
    description: Says which CA would be asked, and asks nobody.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Get the certificate of a site
  flaskops.hosting.certificate:
    names: [flaskops-shop.example.com]
  register: got

- name: Fail without it
  ansible.builtin.assert:
    that: got.problem == ""
    fail_msg: "{{ got.problem }}"
"""

RETURN = r"""
problem:
  description: Why a certificate is not there, or not served. Empty if all are.
  returned: with O(state=present)
  type: str
  sample: ""
told:
  description: What was done.
  returned: always
  type: list
  elements: str
  sample: ["flaskops-shop.example.com: Let's Encrypt, 89 days left, renewed after 2027-01-29T08:00:00Z"]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flaskops.hosting.plugins.module_utils import certificates
from ansible_collections.flaskops.hosting.plugins.module_utils.certificates import CertificateError, Wanted


def get(wanted: Wanted, check_mode: bool) -> tuple[bool, str, str]:
    """Have a site served with its certificate: whether anything changed, what to tell, and the problem if there is one."""
    if check_mode:
        due = certificates.is_due(wanted)
        return due, "the CA would be asked" if due else "is there", ""
    try:
        changed = certificates.obtain(wanted)
    except (CertificateError, OSError) as error:
        return True, "", f"no HTTPS for {', '.join(wanted.names)}: {error}"
    told = certificates.told(wanted)
    return changed, f"{told['issuer']}, {told['days']} days left, will be renewed after {told['next']}", ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "names": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    names: list[str] = module.params["names"]
    os.umask(0o022)
    if module.params["state"] == "absent":
        gone = [name for name in names if module.check_mode or certificates.remove(name)]
        module.exit_json(changed=bool(gone), told=[f"{name}: removed" for name in gone])
    noted = {one.name: one for one in certificates.read_all()}
    result: dict[str, Any] = {"changed": False, "told": [], "problem": ""}
    for name in names:
        if name not in noted and not module.check_mode:
            module.fail_json(msg=f"names: got {name!r}, which is not noted on this host; write its note with flaskops.hosting.config_files first")
        changed, told, problem = get(noted.get(name, Wanted(name=name)), module.check_mode)
        result["changed"] = result["changed"] or changed
        result["told"] += [f"{name}: {told}"] if told else []
        result["problem"] = "\n".join(filter(None, [result["problem"], problem]))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
