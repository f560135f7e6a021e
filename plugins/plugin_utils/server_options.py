# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Further options of the application servers, as users give them: their form, and which of them are the roles' own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

MODULE, TIMEOUT = "flask_app_module", "flask_app_timeout"


@dataclass(frozen=True)
class Options:
    """The further options of a server.

    ``ours`` has each that a role sets itself, or that would change how a release runs, with what to use instead, if there is anything.
    """

    title: str
    name: str  # a regular expression
    takes: Callable[[Any], bool]  # whether a value can be written into the server's file
    needs: str  # the same in words
    example: str
    ours: dict[str, str]


def is_line(value: Any) -> bool:
    """Return whether a value can stand in a line of an ini file."""
    return isinstance(value, (str, int, float)) and not re.search(r"[\r\n]", str(value))


def are_lines(value: Any) -> bool:
    """Return whether a value can stand in one or more lines of an ini file."""
    return bool(value) and all(map(is_line, value)) if isinstance(value, list) else is_line(value)


def is_word(value: Any) -> bool:
    """Return whether a value can stand in a directive of Apache's without quotes."""
    return isinstance(value, (str, int, float)) and bool(re.fullmatch(r"[^\s\"'\\]+", str(value)))


def _ours(names: str, **instead: str) -> dict[str, str]:
    return {**dict.fromkeys(names.split(), ""), **{name.replace("_", "-"): variable for name, variable in instead.items()}}


FURTHER = {
    "nginx_gunicorn_options": Options(
        title="Gunicorn",
        name=r"[a-z_][a-z0-9_]*",
        takes=lambda _value: True,  # it is written as Python
        needs="any value",
        example="{max_requests: 1000, max_requests_jitter: 100}",
        ours={
            **_ours(
                "chdir config control_socket control_socket_disable daemon forwarder_headers graceful_timeout group limit_request_line "
                "secure_scheme_headers umask user when_ready post_worker_init post_request worker_tmp_dir"
            ),
            "bind": "nginx_gunicorn_listen",
            "timeout": TIMEOUT,
            "threads": "nginx_gunicorn_threads",
            "workers": "nginx_gunicorn_workers",
            "worker_class": "nginx_gunicorn_worker_class",
            "wsgi_app": MODULE,
        },
    ),
    "uwsgi_app_options": Options(
        title="uWSGI",
        name=r"[a-z0-9][a-z0-9-]*",
        takes=are_lines,
        needs="a string, a number, true or false, or a list of these for an option that is there several times",
        example='{offload-threads: 1, env: ["A=1", "B=2"]}',
        ours=_ours(
            "strict need-app plugins chdir virtualenv venv home pyhome py-executable py-sys-executable manage-script-name add-header "
            "route-if-not collect-header response-route-if "
            "listen chmod-socket chmod buffer-size post-buffering pidfile vacuum master no-orphans single-interpreter "
            "enable-threads hook-master-start hook-accepting gevent-monkey-patch thunder-lock max-worker-lifetime max-worker-lifetime-delta "
            "worker-reload-mercy die-on-term daemonize uid gid disable-logging log-4xx log-5xx auto-procname "
            "procname-prefix-spaced",
            socket="uwsgi_app_listen",
            uwsgi_socket="uwsgi_app_listen",
            http_socket="uwsgi_app_protocol",
            mount="uwsgi_app_mounts",
            module=MODULE,
            wsgi=MODULE,
            wsgi_file=MODULE,
            callable=MODULE,
            processes="uwsgi_app_processes",
            workers="uwsgi_app_processes",
            threads="uwsgi_app_threads",
            gevent="uwsgi_app_worker_class",
            harakiri=TIMEOUT,
            socket_timeout=TIMEOUT,
            lazy="uwsgi_app_lazy",
            lazy_apps="uwsgi_app_lazy",
        ),
    ),
    "apache_wsgi_options": Options(
        title="WSGIDaemonProcess",
        name=r"[a-z][a-z-]*",
        takes=is_word,
        needs="a string without blanks and quotes, or a number",
        example="{maximum-requests: 10000}",
        ours=_ours(
            "display-name home python-home lang locale umask startup-timeout connect-timeout socket-timeout queue-timeout deadlock-timeout "
            "eviction-timeout header-buffer-size",
            user="flask_app_user",
            group="flask_app_group",
            processes="apache_wsgi_processes",
            threads="apache_wsgi_threads",
            memory_limit="flask_app_memory_max",
            request_timeout=TIMEOUT,
            graceful_timeout=TIMEOUT,
            shutdown_timeout=TIMEOUT,
        ),
    ),
}


def problems_of_options(variable: str, given: dict[str, Any]) -> Iterator[str]:
    """A sentence for each option that cannot be taken; that an option exists at all, the server itself tells before a release gets traffic."""
    options = FURTHER[variable]
    for name, value in given.items():
        if name in options.ours:
            instead = options.ours[name]
            yield f"{variable}: {name} is the role's own" + (f"; use {instead}" if instead else "; leave it out")
        elif not re.fullmatch(options.name, str(name)):
            yield f"{variable}: got {name!r}, needs the name of an option of {options.title}. For example:\n    {variable}: {options.example}"
        elif not options.takes(value):
            yield f"{variable}: {name} is {value!r}, needs {options.needs}. For example:\n    {variable}: {options.example}"
