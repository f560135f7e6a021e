# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app in Apache's own daemon processes, by mod_wsgi."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App, Served, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.entry import first_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import web_variables


def served(app: App) -> Served:
    """What mod_wsgi needs of a release: a WSGI script. It has no socket of the release's own."""
    module, _colon, name = app.module.partition(":")
    names = {"first": first_name(name), "expression": name, "callable": wsgi_callable(app.module)}
    script = fill("apache_wsgi", "app.wsgi.j2", app=app, module=module, release_variables=web_variables(app), **names)
    log = f"/var/log/apache2/{app.front_site.name}-error.log"
    return Served(
        settings=[Text(f"{app.name}.wsgi", script)],
        instance={"name": "web", "manager": "apache", "file": "", "socket": "", "protocol": "http", "log": log},
        packages=["libapache2-mod-wsgi-py3"],
    )


def wsgi_callable(module: str) -> str:
    """The name of the app in its WSGI script, which calls a factory and takes an attribute by itself."""
    name = module.partition(":")[2]
    return name if name.isidentifier() else "application"


def daemon_options(app: App) -> list[str]:
    """The options of ``WSGIDaemonProcess``.

    The timeouts are those of mod_wsgi-express, in which mod_wsgi's author keeps what he recommends for production; WSGIDaemonProcess has most
    of them off: https://modwsgi.readthedocs.io/en/master/configuration-directives/WSGIDaemonProcess.html
    """
    return [
        f"user={app.user}",
        f"group={app.group}",
        f"processes={app.values['apache_wsgi_processes']}",
        f"threads={app.values['apache_wsgi_threads']}",
        f"display-name={app.name}",
        f"home={app.current}/code",
        f"python-home={app.current}/.venv",
        f"memory-limit={app.memory_bytes}",  # 0 is none
        "umask=0027",  # also if somebody gives Apache's unit another one
        "lang=C.UTF-8",
        "locale=C.UTF-8",
        "startup-timeout=15",
        "connect-timeout=15",
        f"socket-timeout={app.timeout}",
        "header-buffer-size=65536",  # of one header of an answer
        "queue-timeout=45",
        "deadlock-timeout=60",
        f"request-timeout={app.given_up_after}",
        f"graceful-timeout={app.timeout}",
        # a process that is replaced waits for a moment without a request, which never comes under load; then it takes no more of them,
        "eviction-timeout=1",
        # and completes its requests, as long as that may take
        f"shutdown-timeout={app.timeout}",
        *(f"{name}={value}" for name, value in app.values["apache_wsgi_options"].items()),
    ]
