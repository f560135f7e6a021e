"""What an app has on a host is noted and nothing else is touched; a host with notes of 0.1.0 goes on; topologies share a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, differences, missing, write_source

ADDRESS = "198.18.2.95"
TO_0_1_0 = (Path(__file__).parent / "to_0_1_0.py").read_text()
THEIRS = ("user@1000.service", "shop@worker1.service", "user@worker1.service")
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
    apps = [app("shop", source), app("user", source, listen="81")]
    untouched.converge(apps)
    write_source(source, {"main.py": (APPS / "probe/main.py").read_text().replace('"one"', '"two"')})
    untouched.converge(apps)
    assert untouched.play([{**apps[1], "flask_app_module": "main:nowhere"}]).returncode == 2
    untouched.converge(None, playbook="rollback", variables={"flask_app_name": "user"})
    assert [untouched.get("/", port=port).json()["version"] for port in (80, 81)] == ["two", "one"]
    untouched.converge(apps, playbook="nginx_uwsgi")
    untouched.converge([absent("shop"), absent("user")])


def test_an_app_that_never_was_there_owns_nothing(untouched: Target) -> None:
    """Not the directory that it names, nor the account."""
    untouched.run("mkdir -p /opt/tools/releases && echo mine >/opt/tools/releases/x && touch /opt/tools/current")
    before = untouched.snapshot("/opt", "/etc", "/srv", "/var/lib/flaskops")
    assert untouched.converge([absent("never", root="/opt/tools", remove_data=True)]).recap["changed"] == 0
    assert differences(before, untouched.snapshot("/opt", "/etc", "/srv", "/var/lib/flaskops")) == {}


def test_a_root_with_somebodys_files_is_rejected(untouched: Target, tmp_path: Path) -> None:
    """Before anything is touched; an empty directory is taken, and stays when the app goes."""
    before = untouched.snapshot("/opt", "/etc", "/srv")
    play = untouched.play([app("tools", root="/opt/tools")])
    words = ["flask_app_root: got '/opt/tools', which holds files that are not this app's (current, releases)", "Nothing was changed."]
    assert (play.returncode, missing(play.output, words)) == (2, []), play.output
    assert differences(before, untouched.snapshot("/opt", "/etc", "/srv")) == {}
    untouched.run("rm -r /opt/tools/*; touch -d 2020-02-02 /opt/tools")
    source = write_source(tmp_path, {"main.py": (APPS / "probe/main.py").read_bytes(), "uploads/.keep": ""})
    untouched.converge([app("tools", root="/opt/tools", listen="8090"), app("gone", source, shared=["uploads"])])
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
    apps = [
        app("shop", topology="nginx_gunicorn", listen=["80", "8082"], nginx_gunicorn_listen="127.0.0.1:8080"),
        app("wiki", topology="nginx_gunicorn", listen="81", nginx_gunicorn_listen="127.0.0.2:8080"),
        app("blog", topology="apache_mod_wsgi", listen="8081"),
        app("news", topology="nginx_uwsgi", server_names=["news.example"], listen=["80", "8082"]),
    ]
    play = untouched.converge(apps, playbook="site")
    answers = [(80, None, "shop"), (8082, None, "shop"), (8081, None, "blog"), (80, "news.example", "news"), (8082, "news.example", "news")]
    for port, host, name in answers:
        assert f"/srv/{name}/" in untouched.get("/who", port=port, host=host).text, (port, host)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.{}:8080/who', timeout=5).read().decode())"
    assert "/srv/shop/" in untouched.run("python3 -", stdin=ask.format(1)) and "/srv/wiki/" in untouched.run("python3 -", stdin=ask.format(2))
    assert {"80/tcp", "8081/tcp", "8082/tcp"} <= set(untouched.run("ufw status").split())
    assert missing(play.output, ["http://news.example/", f"http://{ADDRESS}:8081/", f"http://{ADDRESS}/"]) == []
    assert untouched.converge(apps, playbook="site").recap["changed"] == 0
    play = untouched.play([*apps, app("lost", listen="8083")], playbook="site")
    words = ["flask_app_topology: the host is in the groups nginx_gunicorn and ", "so the app lost must say which of these it belongs to"]
    assert (play.returncode, missing(" ".join(play.output.split()), words)) == (2, []), play.output


def test_an_app_moves_between_fronts_by_its_topology_alone(untouched: Target) -> None:
    """The app that shares its front stays there; the same variables mean the same."""
    moved = app("shop", topology="apache_uwsgi_mysql", listen=["8084", "8085"])
    for topology in ("apache_uwsgi_mysql", "nginx_gunicorn"):
        untouched.converge([{**moved, "flask_app_topology": topology}], playbook="site")
        assert all("/srv/shop/" in untouched.get("/who", port=port).text for port in (8084, 8085))
        assert "/srv/blog/" in untouched.get("/who", port=8081).text and "/srv/news/" in untouched.get("/who", host="news.example").text
        assert "8082/tcp" in untouched.run("ufw status"), "another app has that port"
    untouched.converge([absent(name) for name in ("shop", "wiki", "blog", "news")], playbook="site")
    assert untouched.run("ls /srv; ss --listening --tcp --numeric --no-header | grep -c -e :80 -e :808 || true").split() == ["0"]
    notes = "/etc/flaskops/owners"
    assert untouched.run(f"ls -A {notes} /etc/nginx/flaskops /etc/apache2/flaskops 2>/dev/null || true").split() == [f"{notes}:"]


def test_a_host_with_notes_of_0_1_0_goes_on(untouched: Target) -> None:
    """It converges to today's notes, a second run changes nothing, and nothing is left when its apps move or go."""
    names = ("shop", "wiki", "news")
    own = ({"topology": "nginx_gunicorn"}, {"topology": "apache_mod_wsgi"}, {"topology": "nginx_uwsgi", "uwsgi_app_listen": "127.0.0.1:8930"})
    old, new = ([app(name, listen=str(first + n), server_names=["shop.example"], **own[n]) for n, name in enumerate(names)] for first in (8084, 8087))
    untouched.converge(old, playbook="site")
    untouched.run("python3 -", stdin=TO_0_1_0)
    assert [untouched.get("/", port=port, host="shop.example").status for port in (8084, 8085, 8086)] == [200] * 3
    assert untouched.converge(None, playbook="status").returncode == 0
    serving = "systemctl show --property=MainPID --value 'shop@*-*' 'news@*-*' nginx apache2 | sort"
    pids = untouched.run(serving)
    untouched.converge(old, playbook="site")
    assert untouched.run(serving) == pids, "what serves was not touched"
    assert untouched.converge(old, playbook="site").recap["changed"] == 0
    untouched.run("python3 -", stdin=TO_0_1_0)
    untouched.converge(new, playbook="site")
    left = "ufw status; ss --listening --tcp --numeric; grep -rlE '808[456]' /etc/nginx /etc/apache2 /etc/flaskops || true"
    assert not re.search("808[456]", untouched.run(left))
    untouched.run("python3 -", stdin=TO_0_1_0)
    untouched.converge([absent(name) for name in names])
    places = "/etc/nginx /etc/apache2 /etc/flaskops /etc/systemd /srv"
    for name in names:
        assert untouched.run(f"find {places} -name '*{name}*' ! -name 'shop@worker1.service' 2>/dev/null || true") == ""
