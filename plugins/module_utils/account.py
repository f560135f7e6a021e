# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The account of an app, and that of the front."""

from __future__ import annotations

import pwd

from ansible_collections.flaskops.hosting.plugins.module_utils.command import run

FRONT_ACCOUNT = "www-data"  # of nginx and of Apache, on Debian and on Ubuntu; its group has the same name
OUR_COMMENT = "Flask app"  # what the role flask_app writes into the account's comment


def is_ours(found: pwd.struct_passwd) -> bool:
    """Return whether this collection has made an account, so that all that it runs is its app's."""
    return found.pw_gecos.startswith(OUR_COMMENT)


def end_processes(user: str) -> None:
    """End what an account of ours still runs, such as what a server has started and not ended; an account of somebody else is left alone.

    The account signals all that it may signal, in one call, so that nothing escapes by starting another process meanwhile.
    """
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return
    if found.pw_uid and is_ours(found):
        identity = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups", "--no-new-privs"]
        run("setpriv", *identity, "/bin/sh", "-c", "kill -KILL -1")
