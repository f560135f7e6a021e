"""After a boot, an app whose database comes later than itself is served as soon as that is there. And Python may be newer than the distribution's."""

from __future__ import annotations

import time

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, app, eventually, write_source

pytestmark = thorough

ADDRESS = "198.18.2.232"
VARIANT = "debian13"
PLAYBOOK = ROOT / "playbooks/hosting.yml"  # each app names its topology
LATE_SECONDS = 18  # systemd's own limit is 5 starts in 10 seconds, supervisord's 3 starts, with 1 to 3 seconds between them
SOON = 15  # the intervals of supervisord grow by a second each
SOURCE = """
import socket, sys

socket.create_connection(("127.0.0.1", 5432), timeout=2).close()


def app(environ, start_response):
    start_response("200 OK", [])
    return [b"python %d.%d" % sys.version_info[:2]]
"""
OWN_PORT = "127.0.0.1:8080"  # of the first
ASK_OWN_PORT = f"""python3 -c 'import urllib.request; print(urllib.request.urlopen("http://{OWN_PORT}/", timeout=5).read().decode())'"""
PORTS = {"unit": 80, "master": 81, "program": 82}
# From Debian's next release, whose lists may be older than they say they are valid; the mirror is the image's.
NEWEST_PYTHON = """
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: trixie' | head -n 1)
echo "deb [check-valid-until=no] $mirror forky main" >/etc/apt/sources.list.d/forky.list
apt-get update -qq && apt-get install -qq -y --no-install-recommends --target-release=forky python3.14 >/dev/null 2>&1
code=$?
rm /etc/apt/sources.list.d/forky.list
exit $code
"""
DATABASE = "systemd-run --quiet --unit=database python3 -m http.server 5432 --bind 127.0.0.1 --directory /usr/share"


@pytest.fixture(scope="module")
def host(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Apps that open their database when they are imported: under systemd, with the newest Python, and under supervisord. And a boot without it."""
    source = write_source(tmp_path_factory.mktemp("source"), {"main.py": SOURCE})
    target.run(NEWEST_PYTHON)
    target.run(DATABASE)
    target.converge([
        app("unit", source, topology="nginx_gunicorn", listen="80", python="/usr/bin/python3.14", nginx_gunicorn_listen=OWN_PORT),
        app("master", source, topology="nginx_uwsgi", listen="81"),
        app("program", source, topology="nginx_uwsgi", listen="82", uwsgi_app_manager="supervisord"),
    ], playbook=PLAYBOOK)  # fmt: skip
    assert statuses(target) == dict.fromkeys(PORTS, 200)
    target.reboot()
    return target


def statuses(host: Target) -> dict[str, int]:
    """What each app answers."""
    return {name: host.get("/", port=port).status for name, port in PORTS.items()}


def test_apps_are_served_as_soon_as_their_database_is_there(host: Target) -> None:
    """However late."""
    time.sleep(LATE_SECONDS)
    assert statuses(host) == dict.fromkeys(PORTS, 502) and not host.succeeds(ASK_OWN_PORT)
    host.run(DATABASE)
    assert eventually(lambda: statuses(host) == dict.fromkeys(PORTS, 200), SOON), statuses(host)
    assert host.run(ASK_OWN_PORT) == "python 3.14"


def test_the_newest_python_is_taken(host: Target) -> None:
    """By its path, while the distribution's stays as it is."""
    assert host.get("/").text == "python 3.14"
    assert host.get("/", port=81).text == "python 3.13"
