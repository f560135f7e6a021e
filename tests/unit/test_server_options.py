"""Further options of the application servers: none of the roles' own, in a form that a file takes, and in that file."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan
from ansible_collections.flaskops.hosting.plugins.plugin_utils.server_mod_wsgi import daemon_options
from ansible_collections.flaskops.hosting.plugins.plugin_utils.server_options import FURTHER
from ansible_collections.flaskops.hosting.tests.unit.hosts import app_of, settings_of

TOPOLOGY = {"nginx_gunicorn_options": "nginx_gunicorn", "uwsgi_app_options": "nginx_uwsgi", "apache_wsgi_options": "apache_mod_wsgi"}
KINDS: list[dict[str, Any]] = [{}, {"uwsgi_app_protocol": "http", "uwsgi_app_processes": 2}, {"uwsgi_app_worker_class": "gevent"}]


def problems(variable: str, given: Any) -> list[str]:
    """What is wrong with these options of a good app."""
    return settings_of(TOPOLOGY[variable], **{variable: given}).problems


def settings_file(variable: str, given: dict[str, Any], name: str, **values: Any) -> str:
    """A file of a release with these options."""
    texts = plan.served(app_of(TOPOLOGY[variable], **{variable: given}, **values)).settings
    return next(text.content for text in texts if text.dest == name)


def set_by_role(variable: str) -> set[str]:
    """The options that a role sets for any kind of app."""
    if variable == "apache_wsgi_options":
        return {option.partition("=")[0] for option in daemon_options(app_of("apache_mod_wsgi"))}
    if variable == "nginx_gunicorn_options":
        return set(re.findall(r"^(?:def )?([a-z_]+)(?: =|\(server|\(worker)", settings_file(variable, {}, "gunicorn.conf.py"), re.MULTILINE))
    return {name for kind in KINDS for name in re.findall(r"^([a-z0-9-]+) =", settings_file(variable, {}, "uwsgi.ini", **kind), re.MULTILINE)}


@pytest.mark.parametrize("variable", TOPOLOGY)
def test_each_option_that_a_role_sets_is_its_own(variable: str) -> None:
    found = set_by_role(variable)
    assert len(found) > 10
    for name in found:
        assert problems(variable, {name: 1})[0].startswith(f"{variable}: {name} is the role's own; ")


def test_a_message_says_what_to_use_instead() -> None:
    assert problems("uwsgi_app_options", {"workers": 3}) == ["uwsgi_app_options: workers is the role's own; use uwsgi_app_processes"]
    assert problems("nginx_gunicorn_options", {"control_socket_disable": False}) == [
        "nginx_gunicorn_options: control_socket_disable is the role's own; leave it out"
    ]


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("uwsgi_app_options", {"offload-threads": "1\nmaster = false"}),
        ("uwsgi_app_options", {"env": [["A=1"]]}),
        ("uwsgi_app_options", {"env": []}),
        ("uwsgi_app_options", {"a = b": 1}),
        ("uwsgi_app_options", ["offload-threads"]),
        ("nginx_gunicorn_options", {"max-requests": 1}),
        ("apache_wsgi_options", {"maximum-requests": "1 home=/"}),
        ("apache_wsgi_options", {"maximum-requests": ""}),
        ("apache_wsgi_options", {"maximum-requests": [1]}),
    ],
)
def test_what_no_file_takes_is_rejected(variable: str, given: Any) -> None:
    (problem,) = problems(variable, given)
    assert problem.startswith(f"{variable}: ") and ("For example" in problem or "needs a dictionary" in problem)


@pytest.mark.parametrize("variable", TOPOLOGY)
def test_its_example_is_right(variable: str) -> None:
    assert problems(variable, yaml.safe_load(FURTHER[variable].example)) == []


def test_options_reach_the_servers_file() -> None:
    ini = settings_file("uwsgi_app_options", {"offload-threads": 1, "ignore-sigpipe": True, "env": ["A=1", "B=2"]}, "uwsgi.ini")
    assert "\n; Those of uwsgi_app_options.\noffload-threads = 1\nignore-sigpipe = true\nenv = A=1\nenv = B=2\n" in ini
    python = settings_file("nginx_gunicorn_options", {"max_requests": 10, "raw_env": ["A=\"1'"], "preload_app": True}, "gunicorn.conf.py")
    assert """OPTIONS = {'max_requests': 10, 'raw_env': ['A="1\\''], 'preload_app': True}""" in python
    compile(python, "gunicorn.conf.py", "exec")
    assert daemon_options(app_of("apache_mod_wsgi", apache_wsgi_options={"maximum-requests": 10}))[-1] == "maximum-requests=10"


@pytest.mark.parametrize("name", ["max_requests", "max_request"])
def test_gunicorn_does_not_start_with_a_setting_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    known = types.ModuleType("gunicorn.config")
    known.KNOWN_SETTINGS = [types.SimpleNamespace(name="max_requests")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gunicorn.config", known)
    found: dict[str, Any] = {}
    text = settings_file("nginx_gunicorn_options", {name: 10}, "gunicorn.conf.py")
    if name == "max_requests":
        exec(text, found)
        assert found["max_requests"] == 10
    else:
        with pytest.raises(SystemExit, match="nginx_gunicorn_options: Gunicorn knows no setting max_request$"):
            exec(text, found)


def test_copy_on_write_is_a_choice() -> None:
    assert "\nlazy-apps = true\n" in settings_file("uwsgi_app_options", {}, "uwsgi.ini")
    assert "lazy-apps" not in settings_file("uwsgi_app_options", {}, "uwsgi.ini", uwsgi_app_lazy=False)
