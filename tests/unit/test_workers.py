"""The number of processes suits the host, unless an app says it."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import plan
from ansible_collections.flaskops.hosting.plugins.plugin_utils.workers import PROCESSES, sized
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

TOPOLOGY = {"nginx_gunicorn_workers": "apache_gunicorn", "uwsgi_app_processes": "nginx_uwsgi", "apache_wsgi_processes": "apache_mod_wsgi"}


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [
        ("nginx_gunicorn_workers", {1: 3, 2: 5, 4: 9, 64: 12}),
        ("uwsgi_app_processes", {1: 2, 2: 2, 4: 4, 64: 12}),
        ("apache_wsgi_processes", {1: 2, 2: 2, 4: 4, 64: 12}),
    ],
)
def test_processes_follow_from_processors(variable: str, numbers: dict[int, int]) -> None:
    app = app_of(TOPOLOGY[variable])
    assert {processors: sized(app, processors).values[variable] for processors in numbers} == numbers
    fixed = app_of(TOPOLOGY[variable], **{variable: 40})
    assert sized(fixed, 2).values[variable] == 40


def test_each_server_with_processes_has_a_rule() -> None:
    assert PROCESSES.keys() == TOPOLOGY.keys()


@pytest.mark.parametrize("topology", TOPOLOGY.values())
def test_a_host_of_another_size_gets_other_settings(topology: str) -> None:
    small, large = (plan.plan_present(app_of(topology), a_host(processors=number), "192.0.2.1", "ubuntu") for number in (1, 8))
    assert (small["release"]["settings"], small["files"]) != (large["release"]["settings"], large["files"])
