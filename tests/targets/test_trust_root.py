"""Root never acts by a path where an app can write: whatever is done to a hostile app, nothing outside of its own directories changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Play, Target, app, differences, write_source

ADDRESS = "198.18.2.62"
VARIANT = "debian12"  # its Python follows directories by recursion
# Each a topology and its port: the sandboxed server, and the one without a sandbox.
HOSTILE = {"boxed": ("nginx_gunicorn", "81"), "loose": ("apache_mod_wsgi", "80")}
DEPLOYS = 50 if ALL_OF_IT else 1
LONGEST = 300  # seconds for one run; one that hangs would take for ever
# What changes by itself or is each run's to change: logs, caches, what the apps have themselves, records, sessions, and what is left of a move.
OWN = "/srv /var/log /var/cache /var/lib/systemd /var/lib/flaskops /var/lib/nginx /var/lib/private /var/tmp /etc/flaskops /tmp /home/ubuntu/.ansible"
UNITS = r".*/(boxed|loose)@[^/]*|/root/\.ansible.*"
# What names come and go in: only their times may change.
BUSY = r"/etc/systemd/system(/multi-user\.target\.wants)?|/root|/home/ubuntu"


def apps(source: Path, number: int) -> list[dict[str, Any]]:
    """The hostile apps in their release of this number, whose code is new."""
    (source / "number.py").write_text(f"NUMBER = {number}\n")
    settings: dict[str, Any] = {"shared": ["media/system", "uploads"], "static": {"/static": "static"}}
    return [app(name, source, topology=topology, listen=port, **settings) for name, (topology, port) in HOSTILE.items()]


def manifest(host: Target) -> dict[str, str]:
    """Every path with its kind, mode, owner and the time of its last change, of whatever kind."""
    left_out = " -o ".join(f"-path {path}" for path in OWN.split())
    facts = "%p\\t%y %m %u:%g %l"
    kinds = rf"-regex '{UNITS}' -o -regex '{BUSY}' -printf '{facts}\n' -o -printf '{facts} %C@\n'"
    listed = host.run(rf"find / -xdev -regextype egrep \( {left_out} \) -prune -o {kinds}")
    return dict(line.split("\t", 1) for line in listed.splitlines())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile app."""
    return write_source(tmp_path_factory.mktemp("hostile"), {"main.py": (APPS / "hostile/main.py").read_bytes(), "static/style.css": ""})


def timed(host: Target, *arguments: Any, **options: Any) -> Play:
    """Run a playbook that must end soon."""
    began = time.monotonic()
    play = host.play(*arguments, **options)
    assert time.monotonic() - began < LONGEST
    return play


def good(host: Target, *arguments: Any, **options: Any) -> None:
    """Run a playbook that must end soon, and well."""
    play = timed(host, *arguments, **options)
    assert play.returncode == 0, play.output


def test_no_path_of_the_host_changes(target: Target, source: Path) -> None:
    """Deploys, of which the app can only make its own fail, a look, a closed app, a rollback, and a removal with the data."""
    good(target, apps(source, 0), playbook="site")
    before = manifest(target)
    plays = [timed(target, [one], playbook="site") for number in range(1, DEPLOYS + 1) for one in apps(source, number)]
    assert 0 in {play.returncode for play in plays}
    good(target, None, playbook="status")
    for switch in ("on", "off"):  # the same code for both
        good(target, None, playbook="maintenance", variables={"flask_app_name": "loose", "maintenance": switch})
    for name, (_topology, port) in HOSTILE.items():
        timed(target, None, playbook="rollback", variables={"flask_app_name": name})
        assert target.get("/", port=int(port)).status == 200, name
    assert differences(before, manifest(target)) == {}
    gone = [{"flask_app_name": name, "flask_app_state": "absent", "flask_app_remove_data": True} for name in HOSTILE]
    good(target, gone, playbook="site")
    assert not target.succeeds("id boxed || id loose")
    assert target.run("ls /srv") == ""
