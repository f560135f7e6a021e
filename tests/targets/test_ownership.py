"""What an app has on a host is noted and nothing else is touched; a host with notes of 0.1.0 goes on; topologies share a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, differences, missing, write_source

ADDRESS = "198.18.2.95"
TO_0_1_0 = (Path(__file__).parent / "to_0_1_0.py").read_text()
THEIRS = ("user@1000.service", "shop@worker1.service", "user@worker1.service")
PLACES = "/etc/nginx /etc/apache2 /etc/flaskops /etc/systemd /srv"
# Apps that share a host, and one of them after its move.
SHARING = {
    "shop": app("shop", topology="nginx_gunicorn", listen=["80", "8082"], nginx_gunicorn_listen="127.0.0.1:8080"),
    "wiki": app("wiki", topology="nginx_gunicorn", server_names=["wiki.example"], listen=["81", "8082"], nginx_gunicorn_listen="127.0.0.2:8080"),
    "blog": app("blog", topology="apache_mod_wsgi", listen="8081"),
    "news": app("news", topology="nginx_uwsgi", server_names=["news.example"], listen="80", uwsgi_app_listen="127.0.0.1:8930"),
}
MOVED = app("shop", listen="8084")
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def absent(name: str, **settings: Any) -> dict[str, Any]:
    """An app that is to go."""
    return {"flask_app_name": name, "flask_app_state": "absent", **{f"flask_app_{key}": value for key, value in settings.items()}}


@pytest.fixture(scope="module")
def theirs(target: Target) -> Target:
    """A host with units of somebody's own that are named like those of apps; a login has the first."""
    for unit in THEIRS:
        target.run(f"cat >/etc/systemd/system/{unit} && systemctl daemon-reload && systemctl enable --now --quiet {unit}", stdin=UNIT)
    return target


@pytest.fixture
def untouched(theirs: Target) -> Iterator[Target]:
    """The host, which has those units as they were when the test is over."""

    def state() -> str:
        shown = "systemctl show --property=MainPID,ActiveState,UnitFileState --value"
        return theirs.run("; ".join(f"{shown} {unit}; cat /etc/systemd/system/{unit}" for unit in THEIRS))

    before = state()
    yield theirs
    assert state() == before


def test_units_that_are_only_named_like_an_apps_run_on(untouched: Target, tmp_path: Path) -> None:
    """Through releases, a rejected one, a rollback, a move and the removal."""
    source = write_source(tmp_path, {"main.py": (APPS / "probe/main.py").read_bytes()})
    shop, user = app("shop", source), app("user", source, listen="81")
    untouched.converge([shop, user])
    write_source(source, {"main.py": (APPS / "probe/main.py").read_text().replace('"one"', '"two"')})
    assert untouched.play([shop, {**user, "flask_app_module": "main:VERSION"}]).returncode == 2
    assert [untouched.get("/", port=port).json()["version"] for port in (80, 81)] == ["two", "one"]
    untouched.converge(None, playbook="rollback", variables={"flask_app_name": "shop"})
    assert untouched.get("/").json()["version"] == "one"
    untouched.converge([shop, absent("user")], playbook="nginx_uwsgi")
    assert "/srv/shop/" in untouched.get("/who").text


def test_an_app_that_never_was_there_owns_nothing(untouched: Target) -> None:
    """Not the directory that it names, nor the account."""
    untouched.run("mkdir -p /opt/tools/releases && echo mine >/opt/tools/releases/x && touch /opt/tools/current")
    before = untouched.snapshot("/opt", "/etc", "/srv", "/var/lib/flaskops")
    assert untouched.converge([absent("never", root="/opt/tools", remove_data=True)]).recap["changed"] == 0
    assert differences(before, untouched.snapshot("/opt", "/etc", "/srv", "/var/lib/flaskops")) == {}


def test_a_root_with_somebodys_files_is_rejected(untouched: Target, tmp_path: Path) -> None:
    """Before anything is touched; an empty directory is taken, and stays when the app goes."""
    before = untouched.snapshot("/opt", "/etc", "/srv")
    play = untouched.play([app("tools", root="/opt/tools", listen="8090")])
    words = ["flask_app_root: got '/opt/tools', which holds files that are not this app's (current, releases)", "Nothing was changed."]
    assert (play.returncode, missing(play.output, words)) == (2, []), play.output
    assert differences(before, untouched.snapshot("/opt", "/etc", "/srv")) == {}
    untouched.run("rm -r /opt/tools/*; touch -d 2020-02-02 /opt/tools")
    source = write_source(tmp_path, {"main.py": (APPS / "probe/main.py").read_bytes(), "uploads/.keep": ""})
    untouched.converge([absent("shop"), app("tools", root="/opt/tools", listen="8090"), app("gone", source, shared=["uploads"])])
    untouched.run("echo theirs >/opt/tools/note.txt; touch /srv/gone/shared/uploads/kept")


def test_an_app_whose_data_alone_is_left_is_in_nobodys_way(untouched: Target) -> None:
    """Any other app can be put on the host, also one whose neighbours' notes are no JSON or empty."""
    untouched.run("echo '{' >/etc/flaskops/apps/torn.json; echo '{}' >/etc/flaskops/apps/empty.json")
    untouched.converge([absent("tools"), absent("gone"), app("next")])
    assert untouched.run("ls -A /opt/tools; ls /srv/gone/shared/uploads").split() == ["note.txt", "kept"]
    assert untouched.get("/").json()["version"] == "one"
    assert untouched.converge(None, playbook="status").returncode == 0
    untouched.converge([absent("gone", remove_data=True), absent("next")])
    untouched.run("rm -r /opt/tools /etc/flaskops/apps/torn.json /etc/flaskops/apps/empty.json")


def test_two_topologies_share_a_host_in_one_run(untouched: Target) -> None:
    """Each app says its own; the host is in the groups of all topologies, so one that says none is rejected. Two have one port at two addresses."""
    play = untouched.converge(list(SHARING.values()), playbook="site")
    answers = [(80, None, "shop"), (8082, None, "shop"), (8081, None, "blog"), (80, "news.example", "news"), (8082, "wiki.example", "wiki")]
    for port, host, name in answers:
        assert f"/srv/{name}/" in untouched.get("/who", port=port, host=host).text, (port, host)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.{}:8080/who', timeout=5).read().decode())"
    assert "/srv/shop/" in untouched.run("python3 -", stdin=ask.format(1)) and "/srv/wiki/" in untouched.run("python3 -", stdin=ask.format(2))
    assert {"80/tcp", "8081/tcp", "8082/tcp"} <= set(untouched.run("ufw status").split())
    assert missing(play.output, ["http://news.example/", f"http://{ADDRESS}:8081/", f"http://{ADDRESS}/"]) == []
    play = untouched.play([*SHARING.values(), app("lost", listen="8083")], playbook="site")
    words = ["flask_app_topology: the host is in the groups nginx_gunicorn and ", "so the app lost must say which of these it belongs to"]
    assert (play.returncode, missing(" ".join(play.output.split()), words)) == (2, []), play.output


def test_an_app_moves_between_fronts_by_its_topology_alone(untouched: Target) -> None:
    """The apps that share its front stay there; the same variables mean the same. What goes in the same run leaves nothing."""
    for topology, others in (("apache_uwsgi_mysql", []), ("nginx_gunicorn", [absent("wiki")])):
        untouched.converge([{**MOVED, "flask_app_topology": topology}, *others], playbook="site")
        assert "/srv/shop/" in untouched.get("/who", port=8084).text
        assert "/srv/blog/" in untouched.get("/who", port=8081).text and "/srv/news/" in untouched.get("/who", host="news.example").text
        assert {"80/tcp", "8084/tcp"} <= set(untouched.run("ufw status").split()), "another app has port 80"
        assert ("8082/tcp" in untouched.run("ufw status")) == (not others), "so has one port 8082, until it goes"
    assert untouched.run(f"find {PLACES} -name '*wiki*'; ss --listening --tcp --numeric --no-header | grep -e :81 -e :8082 || true") == ""


@thorough
def test_a_host_with_notes_of_0_1_0_goes_on(untouched: Target) -> None:
    """It converges to today's notes, a second run changes nothing, and nothing is left when its apps move or go."""
    old = [{**MOVED, "flask_app_topology": "nginx_gunicorn"}, SHARING["blog"], SHARING["news"]]
    untouched.run("python3 -", stdin=TO_0_1_0)
    assert [untouched.get("/", port=port, host="news.example").status for port in (8084, 8081, 80)] == [200] * 3
    assert untouched.converge(None, playbook="status").returncode == 0
    serving = "systemctl show --property=MainPID --value 'shop@*-*' 'news@*-*' nginx apache2 | sort"
    pids = untouched.run(serving)
    untouched.converge(old, playbook="site")
    assert untouched.run(serving) == pids, "what serves was not touched"
    assert untouched.converge(old, playbook="site").recap["changed"] == 0
    untouched.run("python3 -", stdin=TO_0_1_0)
    untouched.converge([{**one, "flask_app_listen": f"709{n}"} for n, one in enumerate(old)], playbook="site")
    left = "ufw status; ss --listening --tcp --numeric; grep -rlE '808[14]' /etc/nginx /etc/apache2 /etc/flaskops || true"
    assert not re.search("808[14]|:80 ", untouched.run(left))
    untouched.run("python3 -", stdin=TO_0_1_0)
    untouched.converge([absent(name) for name in ("shop", "blog", "news")])
    for name in ("shop", "blog", "news"):
        assert untouched.run(f"find {PLACES} -name '*{name}*' ! -name 'shop@worker1.service' 2>/dev/null || true") == ""
    assert untouched.run("ls /srv; ss --listening --tcp --numeric --no-header | grep -c -e :80 -e :709 || true").split() == ["0"]
    assert untouched.run("ls -d /etc/flaskops/owners/* /etc/nginx/flaskops /etc/apache2/flaskops 2>/dev/null || true") == ""
