"""A dry run shows what the run does, and changes nothing; a second run finds nothing to do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app, differences

ADDRESS = "198.18.2.10"
VARIANT = "ubuntu-like"  # bare
APPS = [
    app("shop"),
    app("api", nginx_gunicorn_listen="127.0.0.1:8080", listen="81"),
]
# What stands in for tasks that need a package which a dry run does not install.
STANDS_FOR = {
    "Show the packages that would be installed, if no package list has them yet": ["Install the packages"],
}


def builds(play: Play) -> list[str]:
    """The names of the builds that a run's diffs show."""
    return re.findall(r"^\+build: (\w+)$", play.output, re.MULTILINE)


def planned_tasks(play: Play) -> list[str]:
    """What the real run is to change, task by task."""
    return [real for task in play.changed for real in STANDS_FOR.get(task, [task])]


@pytest.fixture(scope="module")
def dry(target: Target) -> Play:
    """The dry run on the bare target, which has changed nothing."""
    return target.dry_run(APPS)


@pytest.fixture(scope="module")
def real(target: Target, dry: Play) -> Play:
    """The run after the dry run."""
    return target.converge(APPS, "--diff")


def test_dry_run_names_packages_files_and_release(dry: Play) -> None:
    """A reader sees what will be installed, written, opened and released."""
    packages = dry.shown_by("Install the packages")
    assert re.search(r"NEW packages will be installed:.*\bnginx\b.*\bpython3-venv\b.*\bufw\b", packages, re.DOTALL), dry.output
    assert {"/etc/nginx/flaskops/80/shop.conf", "/etc/nginx/sites-enabled/81.conf", "new release"} <= dry.diffs
    assert "+    proxy_pass http://unix:/srv/api/current/run/app.sock:/;" in dry.output
    assert re.search(r"^\+/srv/shop/current -> [0-9a-f]{12}-", dry.output, re.MULTILINE)
    allowed = dry.shown_by("Allow SSH and the ports of the apps, and reject all others")
    assert [port for port in (22, 80, 81) if f"+allow {port}/tcp" in allowed] == [22, 80, 81] and "+reject all others" in allowed
    assert "shop would answer at http://198.18.2.10/ " in dry.output
    assert "api would answer at http://198.18.2.10:81/ " in dry.output


def test_the_run_does_what_the_dry_run_showed(target: Target, dry: Play, real: Play) -> None:
    """The same tasks change, and the same files; no other path of the diff is there in the end."""
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert dry.diffs <= real.diffs
    unplanned = {path for path in real.diffs - dry.diffs if target.succeeds(f"test -e {path} -o -L {path}")}
    assert unplanned == set(), "was nginx's default site, which its package brings, not removed?"
    assert builds(dry) == builds(real) and len(builds(real)) == 2
    for name in ("shop", "api"):
        assert target.live(name).startswith(builds(dry)[0][:12])
        assert f"+release: {target.live(name)}" in real.output, "the diff of the real run must name the real release"
    assert target.get("/").json()["version"] == target.get("/", port=81).json()["version"] == "one"


def test_second_run_changes_nothing(target: Target, real: Play) -> None:
    """Neither Ansible's count nor the file system knows of a change."""
    before = target.snapshot()
    again = target.converge(APPS, "--diff")
    assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
    assert differences(before, target.snapshot()) == {}


def test_dry_run_of_a_change_shows_only_that_change(target: Target, real: Play) -> None:
    """A changed setting is shown as one, nothing that is finished is shown again, and nothing is changed."""
    before = target.snapshot()
    changed = [{**APPS[0], "nginx_site_snippet": "expires 7m;"}, APPS[1]]
    play = target.converge(changed, "--check", "--diff")
    assert play.changed == ["Configure the front and the app's own port"]
    assert play.diffs == {"/etc/nginx/flaskops/80/shop.conf"}
    assert "+    expires 7m;" in play.output
    assert differences(before, target.snapshot()) == {}


@thorough
def test_host_without_package_lists(new_target: Callable[..., Target]) -> None:
    """A host that never ran `apt update` works in a dry run and in a real run."""
    host = new_target("198.18.2.11")
    host.run("apt-get purge --quiet=2 --yes logrotate ufw && rm -rf /var/lib/apt/lists/*")
    before = host.snapshot()
    dry = host.converge(APPS[:1], "--check", "--diff")
    assert "Would install logrotate, ufw" in dry.output
    assert [path for path in differences(before, host.snapshot()) if "@1000.service" not in path] == [], "more than the login"
    assert host.run("ls /var/lib/apt/lists") == ""
    real = host.converge(APPS[:1], "--diff")
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert host.succeeds("test -e /usr/sbin/logrotate -a -e /usr/sbin/ufw") and host.get("/").status == 200
