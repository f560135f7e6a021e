# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many processes an application server has, if an app does not say it: so many as suit the processors of its host."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App

MOST = 12  # from 4 to 12 are enough for thousands of requests a second, and each takes memory: Gunicorn's page below
PROCESSES: dict[str, Callable[[int], int]] = {
    # https://docs.gunicorn.org/en/stable/design.html#how-many-workers
    "nginx_gunicorn_workers": lambda processors: 2 * processors + 1,
    # These have threads, so that one process keeps a processor busy; two, because one that is replaced needs another one beside it.
    "uwsgi_app_processes": lambda processors: max(2, processors),
    "apache_wsgi_processes": lambda processors: max(2, processors),
}


def sized(app: App, processors: int) -> App:
    """The app with a number of processes for a host with so many processors, unless it has one of its own."""
    chosen = {name: min(suits(processors), MOST) for name, suits in PROCESSES.items() if app.values.get(name) == 0}
    return replace(app, values={**app.values, **chosen})
