# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app under uWSGI, which systemd or supervisord keeps running."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import CAPABILITIES
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import SOCKET, App, OnHost, Served, Service, Text
from ansible_collections.flaskops.hosting.plugins.plugin_utils.entry import entry, entry_file, needs_entry
from ansible_collections.flaskops.hosting.plugins.plugin_utils.templates import RELEASE_PATH, fill
from ansible_collections.flaskops.hosting.plugins.plugin_utils.units import drop_in, own_port, systemd_instance, web_unit, web_variables

# uwsgi-core, without the package uwsgi: that one brings a service of its own
PACKAGES = ["uwsgi-core", "uwsgi-plugin-python3", "uwsgi-plugin-gevent-python3"]
SUPERVISORD = "supervisor.service"
OLDEST = "2.0.22"  # the first one for Python 3.11
GEVENT = "gevent==26.9.0"


def served(app: App) -> Served:
    """What uWSGI needs of a release."""
    values = app.values
    from_distribution = values["uwsgi_app_origin"] == "distribution"
    under_supervisord = values["uwsgi_app_manager"] == "supervisord"
    binary = "/usr/bin/uwsgi" if from_distribution else f"{RELEASE_PATH}/.venv/bin/pyuwsgi"
    command = f"{binary} --ini {RELEASE_PATH}/uwsgi.ini"
    stop_timeout = app.timeout + 5  # uWSGI gives its workers as long as a request may take
    own = _own(values)
    mounts = [(mount.path, entry(mount.module)) for mount in app.mounts]
    return Served(
        settings=[
            *entry_file(app.module),
            Text(
                "uwsgi.ini",
                fill(
                    "uwsgi_app",
                    "uwsgi.ini.j2",
                    app=app,
                    mounts=mounts,
                    has_entry=needs_entry(app.module),
                    options=_options(values["uwsgi_app_options"]),
                    **own,
                ),
            ),
            _program(app, command, stop_timeout) if under_supervisord else web_unit(app, command, stop_timeout, lines=["NotifyAccess=main"]),
        ],
        instance={
            **(_supervisord_instance(own["protocol"]) if under_supervisord else systemd_instance(own["protocol"])),
            # the signal would interrupt a process that waits for a slow visitor, and so end what it sends him
            "drain_timeout": 0 if own["worker_class"] == "gevent" else stop_timeout,
        },
        packages=[*(PACKAGES if from_distribution else []), *(["supervisor"] if under_supervisord else [])],
        requirements=[*([] if from_distribution else [values["uwsgi_app_requirement"]]), *([GEVENT] if own["worker_class"] == "gevent" else [])],
        minimum={"pyuwsgi": OLDEST},
        chunked_bodies=False,
        port=own_port(values["uwsgi_app_listen"]),
        beside=_beside_supervisord() if under_supervisord else OnHost(),
    )


def _beside_supervisord() -> OnHost:
    """What shuts in supervisord, whose programs give up their capabilities by themselves; and its own log."""
    file = drop_in(SUPERVISORD, CapabilityBoundingSet=f"{CAPABILITIES} CAP_SETPCAP", LogsDirectory="supervisor", LogsDirectoryMode="0750")
    return OnHost([file], [Service(SUPERVISORD, reads=[file.dest])])


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """uWSGI's variables by their names without the role's."""
    return {name: values[f"uwsgi_app_{name}"] for name in ("origin", "worker_class", "protocol", "processes", "threads", "lazy")}


def _options(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Further options as lines of the ini file: a list has a line for each of its values."""
    lines = [(name, one) for name, value in given.items() for one in (value if isinstance(value, list) else [value])]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in lines]


def _program(app: App, command: str, stop_timeout: int) -> Text:
    return Text(
        "supervisor.conf",
        fill("uwsgi_app", "supervisor.conf.j2", app=app, command=command, stop_timeout=stop_timeout, release_variables=web_variables(app)),
    )


def _supervisord_instance(protocol: str) -> dict[str, Any]:
    return {"name": "web", "manager": "supervisord", "file": "supervisor.conf", "socket": SOCKET, "protocol": protocol}
