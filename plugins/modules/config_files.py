#!/usr/bin/python
# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write a server's configuration files as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write a server's configuration files as one transaction
version_added: 0.1.0
description:
  - Writes a list of templates, texts and links, and removes a list of paths, in one round trip. Directories that are missing are made.
  - The whole is tested with the server's own command. Where the test, or the reload after it, fails,
    every path is put back as it was, and the task fails with the server's own message. A rejected file never stays on disk.
  - A run that was killed half-way is put back by the next run on that host.
author: flaskops contributors (@flaskops)
options:
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
      state:
        description: V(present) writes the file or the link. V(absent) removes the path, with all that is in it where it is a directory.
        type: str
        choices: [present, absent]
        default: present
      owner:
        description: Name of the file's owner.
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
        description: Whether the content is kept out of diffs.
        type: bool
        default: false
      link:
        description: Absolute path of a symbolic link.
        type: path
      to:
        description: What the link points to. Relative paths start at the link's folder.
        type: str
  test:
    description: A command, such as C(nginx -t), run without a shell when the files are written. Any exit code but 0 puts all back.
    type: str
  service:
    description:
      - A systemd unit that reads the files, such as C(nginx.service). It is enabled and started, and told of a change as O(on_change) says.
      - The unit is looked at even where no file changed, so a server that somebody stopped is started.
    type: str
  service_needs:
    description:
      - A directory or file without which the service has nothing to do. Where it is empty or missing, the service is stopped and
        disabled instead.
    type: path
  on_change:
    description: How the service takes a change. One that cannot reload is restarted.
    type: str
    choices: [reloaded, restarted]
    default: reloaded
notes:
  - It needs root on the host, and systemd where O(service) is given.
attributes:
  check_mode:
    support: partial
    description: Tells which files would change, and changes nothing.
    details: The server's own test is not run, for it reads the files on disk.
  diff_mode:
    support: full
    description: Shows each file, link and removal.
"""

EXAMPLES = r"""
- name: Write what nginx reads
  flaskops.hosting.config_files:
    files:
      - {src: site.conf.j2, dest: /etc/nginx/sites-available/shop.conf}
      - {link: /etc/nginx/sites-enabled/shop.conf, to: ../sites-available/shop.conf}
      - {dest: /etc/nginx/sites-enabled/default, state: absent}
    test: nginx -t
    service: nginx.service

- name: Write a file with a secret, which needs a restart
  flaskops.hosting.config_files:
    files:
      - {content: "requirepass {{ vaulted_password }}\n", dest: /etc/redis/password.conf, group: redis, mode: "0640", secret: true}
    service: redis-server.service
    on_change: restarted

- name: Stop PHP with its last pool
  flaskops.hosting.config_files:
    files:
      - {dest: /etc/php/8.4/fpm/pool.d/shop.conf, state: absent}
    service: php8.4-fpm.service
    service_needs: /etc/php/8.4/fpm/pool.d
"""

RETURN = r"""
paths:
  description: The paths that changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/nginx/sites-available/shop.conf]
recovered:
  description: Whether an earlier run had been killed half-way and was put back first.
  returned: always
  type: bool
  sample: false
service:
  description: What was done with the service. One of V(none), V(started), V(reloaded), V(restarted), V(stopped).
  returned: always
  type: str
  sample: reloaded
"""

import shlex
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run, unit_properties
from ansible_collections.flaskops.hosting.plugins.module_utils.transaction import Change, Transaction, TransactionError

UNITS = Path("/etc/systemd/system")
FILE_OPTIONS: dict[str, Any] = {
    "dest": {"type": "path"},
    "src": {"type": "str"},
    "content": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False},
    "link": {"type": "path"},
    "to": {"type": "str"},
}


def accept(test: str | None, service: str | None, wanted: str) -> str:
    """Test what was written and let the service read it; returns what was done with the service.

    Raises ``TransactionError`` with the server's own message.
    """
    if test:
        tested = run(*shlex.split(test))
        if tested.returncode:
            raise TransactionError(f"{test}: exit code {tested.returncode}\n{tested.stdout.strip()}")
    return tell(service, wanted) if service else "none"


def reload_units(changes: list[Change]) -> None:
    """Have systemd read its units again, where some of them changed."""
    if any(change.path.parent == UNITS for change in changes):
        run("systemctl", "daemon-reload")


def tell(service: str, wanted: str) -> str:
    """Have the service ``reloaded``, ``restarted`` or ``stopped``, and enabled or not. Raises ``TransactionError`` where systemd refuses."""
    if wanted == "stopped":
        _systemctl("disable", "--now", service)
        return wanted
    before = unit_properties(service, "ActiveState", "UnitFileState")
    if before.get("UnitFileState") != "enabled":
        _systemctl("enable", service)
    if before.get("ActiveState") != "active":
        _systemctl("start", service)
        return "started"
    _systemctl("reload-or-restart" if wanted == "reloaded" else "restart", service)
    return wanted


def _systemctl(*words: str) -> None:
    verb, service = words[0], words[-1]
    done = run("systemctl", "--quiet", *words)
    if done.returncode:
        log = run("journalctl", f"--unit={service}", "--lines=10", "--output=cat", "--no-pager").stdout
        raise TransactionError(f"systemctl {verb} {service}: exit code {done.returncode}\n{done.stdout.strip()}\n{log.strip()}")


def is_as_wanted(service: str, wanted: str) -> bool:
    """Tell whether the service runs now and after a boot; or does neither, where it shall be ``stopped``."""
    found = unit_properties(service, "ActiveState", "UnitFileState")
    up = [found.get("ActiveState") == "active", found.get("UnitFileState") == "enabled"]
    return not any(up) if wanted == "stopped" else all(up)


def is_gone_after(path: Path, changes: list[Change]) -> bool:
    """Tell whether a path is missing or an empty directory, or will be when the changes are made."""
    if any(change.path == path for change in changes) or path.is_file():
        return any(change.path == path and change.kind == "absent" for change in changes)
    return is_empty_after(path, changes)


def is_empty_after(directory: Path, changes: list[Change]) -> bool:
    """Tell whether a directory is empty, or will be when the changes are made."""
    found = {path.name for path in directory.glob("*")}
    here = [change for change in changes if change.path.parent == directory]
    gone = {change.path.name for change in here if change.kind == "absent"}
    return not (found | {change.path.name for change in here}) - gone


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": FILE_OPTIONS,
                "required_one_of": [("dest", "link")],
                "mutually_exclusive": [("dest", "link"), ("src", "content")],
                "required_together": [("link", "to")],
            },
            "test": {"type": "str"},
            "service": {"type": "str"},
            "service_needs": {"type": "path"},
            "on_change": {"type": "str", "choices": ["reloaded", "restarted"], "default": "reloaded"},
        },
        supports_check_mode=True,
    )
    test, service, needs, wanted = (module.params[name] for name in ("test", "service", "service_needs", "on_change"))
    result: dict[str, Any] = {"recovered": False, "service": "none", "paths": []}

    def put_on_the_host() -> None:
        reload_units(pending)
        result["service"] = accept(test, None if unit_goes else service, wanted)

    try:
        transaction = Transaction([Change.from_entry(entry) for entry in module.params["files"]])
        lock = None if module.check_mode else transaction.lock()
        result["recovered"] = lock is not None and transaction.recover()
        pending = transaction.pending()
        result["paths"] = [str(change.path) for change in pending]
        result["diff"] = [change.diff() for change in pending]
        if needs and is_gone_after(Path(needs), transaction.changes):
            wanted = "stopped"
        other = bool(service) and not is_as_wanted(service, wanted)
        result["changed"] = bool(pending or result["recovered"] or other)
        unit_goes = wanted == "stopped" and any(change.path == UNITS / str(service) for change in pending)
        if result["changed"] and lock is not None:
            if unit_goes:  # systemd can disable only what it still has a file of
                tell(str(service), wanted)
            transaction.commit(pending, put_on_the_host)
            result["service"] = wanted if unit_goes else result["service"]
    except TransactionError as error:
        module.fail_json(msg=f"Nothing was changed, for this was refused: {error}", **{**result, "changed": False})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
