#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Get a certificate from a CA, and have a site served with it: the documentation of the action."""

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
summary:
  description: What is there now, or was removed.
  returned: always
  type: list
  elements: str
  sample: ["flaskops-shop.example.com: Let's Encrypt, 89 days left, renewed after 2027-01-29T08:00:00Z"]
"""
