#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Allow ports through the host's firewall, and reject all others, without locking anybody out: the documentation of the action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Allow ports through the host's firewall, and reject all others
version_added: 0.2.0
description:
  - Sets up C(ufw) so that it allows the given TCP ports from everywhere, for IPv4 and IPv6, and rejects all others that come in.
  - If this turns the firewall on, a new connection to the host must come through afterwards. If that does not succeed within 60
    seconds, the host itself takes back all that was changed, also if nobody reaches it any more.
author: flaskops contributors (@flaskops)
options:
  allow:
    description: Lists of the ports to allow, by what their rules' comment says of them, such as C(SSH).
    type: dict
    default: {}
  close:
    description: The ports that are no longer allowed.
    type: list
    elements: int
    default: []
  enabled:
    description: Whether all other ports are to be rejected, which turns the firewall on. If it is left out, what is set stays.
    type: bool
    default: false
  shuts:
    description: What listens on ports that will be rejected, as C(port) and C(process). The module warns of these before and after.
    type: list
    elements: dict
    default: []
requirements:
  - root on the host, C(ufw) and systemd.
attributes:
  check_mode:
    support: full
    description: Shows the rules, and changes nothing. C(ufw) need not be installed.
  diff_mode:
    support: full
    description: Shows the rules that are added and removed.
"""

EXAMPLES = r"""
- name: Allow SSH and HTTP, and reject all others
  flaskops.hosting.firewall:
    allow: {SSH: [22], flaskops: [80]}
    enabled: true
"""

RETURN = r"""
guarded:
  description: Whether the host takes the change back, unless a new connection keeps it.
  returned: always
  type: bool
  sample: false
"""
