#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write a server's configuration files as one transaction: the documentation of the action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write a server's configuration files as one transaction
version_added: 0.1.0
description:
  - Writes a list of templates, texts and links, and removes a list of paths, in one round trip. Directories that are missing are made.
  - The whole is tested with the servers' own commands. If a test fails, or the reload after it, every path is put back as it was, and the
    task fails with the server's own message. A rejected file never stays on disk.
  - With O(owner), the host notes who has each path. What the owner had before and O(files) names no more is removed in the same
    transaction, unless another owner has it too. An empty list removes all that the owner had.
  - A run that was killed half-way is put back by the next run on that host.
author: flaskops contributors (@flaskops)
options:
  owner:
    description:
      - Whose files these are, such as the name of an app. Without one, nothing is noted.
      - A directory that was made for an owner's files goes with the last file in it.
    type: str
  files:
    description: What the paths must be. Each entry has O(files[].dest), or O(files[].link) and O(files[].to).
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description: Absolute path of a file.
        type: path
      src:
        description: A template on the controller, found and rendered as M(ansible.builtin.template) does.
        type: str
      content:
        description: The text of the file, instead of O(files[].src). Without either, the file is empty.
        type: str
      file:
        description: A text file on the controller, instead of O(files[].src), as it is. Ansible Vault may have encrypted it.
        type: path
      state:
        description: V(present) writes the file or the link. V(absent) removes the path; if it is a directory, with all that is in it.
        type: str
        choices: [present, absent]
        default: present
      owner:
        description: Name of the account that the file belongs to.
        type: str
        default: root
      group:
        description: Name of the file's group.
        type: str
        default: root
      mode:
        description: The file's permissions, as octal digits in quotes.
        type: str
        default: "0644"
      secret:
        description: Whether the content is kept out of diffs and logs.
        type: bool
        default: false
      link:
        description: Absolute path of a symbolic link.
        type: path
      to:
        description: What the link points to. Relative paths start at the link's folder.
        type: str
      replace:
        description:
          - A text in the file O(files[].dest), which is somebody else's, instead of O(files[].content). O(files[].by) takes its place. If the file
            has it no more, it stays as it is.
          - With O(owner), it is put back with the last owner that names it.
        type: str
      by:
        description: What takes the place of O(files[].replace). It must be a text that is in no such file by itself.
        type: str
  services:
    description:
      - The systemd units that read the files. Each is enabled and started, and takes a change as O(services[].on_change) says.
      - A file in the directory C(/etc/systemd/system/NAME.d) of a unit that is given needs no mention in O(services[].reads). If it comes or
        changes, the unit is restarted; if it goes, it has an effect until the unit's next start.
      - They are looked at even if no file changed, so a server that somebody stopped is started.
      - A service that the owner had before and that is not given any more is reloaded if a change concerns it, and stopped with the last of
        its files.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the unit, such as V(nginx.service).
        type: str
        required: true
      test:
        description:
          - A command, such as V(nginx -t), run without a shell when a change concerns the service. Any exit code but 0 puts all back.
          - Lines that it marks with C([warn]) are shown as warnings. If one says that a word of what changed is ignored, all is put back.
        type: str
        default: ""
      lists:
        description:
          - A command, such as V(nginx -T), that names every file that the service reads. If it does not name one of the links, all is put back.
        type: str
        default: ""
      needs:
        description:
          - A directory or file without which the service has nothing to do. If it is empty or missing, the service is stopped and disabled instead.
        type: str
        default: ""
      on_change:
        description: How the service takes a change. One that cannot reload is restarted.
        type: str
        choices: [reloaded, restarted]
        default: reloaded
      reads:
        description: Files, or directories with all that is in them, whose changes concern the service. Empty if every change does.
        type: list
        elements: str
        default: []
  payload:
    description: Internal. What the controller sends and nobody may see.
    type: str
    default: ""
notes:
  - It needs root on the host, and systemd if O(services) are given.
attributes:
  check_mode:
    support: partial
    description: Says which files would change, and changes nothing.
    details: The servers' own tests are not run, because they read the files on disk.
  diff_mode:
    support: full
    description: Shows each file, link and removal, and the note of what the owner has.
"""

EXAMPLES = r"""
- name: Configure nginx
  flaskops.hosting.config_files:
    owner: shop
    files:
      - {src: site.conf.j2, dest: /etc/nginx/sites-available/shop.conf}
      - {link: /etc/nginx/sites-enabled/shop.conf, to: ../sites-available/shop.conf}
      - {dest: /etc/nginx/sites-enabled/default, state: absent}
    services:
      - {name: nginx.service, test: nginx -t, needs: /etc/nginx/sites-enabled, reads: [/etc/nginx]}

- name: Remove all that the shop has there
  flaskops.hosting.config_files:
    owner: shop
    files: []

- name: Write a file with a secret, which needs a restart
  flaskops.hosting.config_files:
    files:
      - {content: "requirepass {{ vaulted_password }}\n", dest: /etc/redis/password.conf, group: redis, mode: "0640", secret: true}
    services:
      - {name: redis-server.service, on_change: restarted}
"""

RETURN = r"""
paths:
  description: The paths that changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/nginx/sites-available/shop.conf]
recovered:
  description: Whether an earlier run had been killed half-way and was put back first, or would be in check mode.
  returned: always
  type: bool
  sample: false
services:
  description: What was done with each service that something was done with. One of V(enabled), V(started), V(reloaded), V(restarted), V(stopped).
  returned: always
  type: dict
  sample: {nginx.service: reloaded}
"""
