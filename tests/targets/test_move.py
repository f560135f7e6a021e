"""One app moves through all topologies on one host: after each move it answers, and the host has what that topology needs and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import each
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, differences, missing, write_source
from ansible_collections.flaskops.hosting.tests.targets.test_absent import traces

ADDRESS = "198.18.2.180"
NAME = "qzmover"  # in no other file of the system
PAGE = "<?php echo json_encode(['version' => 'page']);"
# Everything on the host that a topology could leave behind, one thing a line; releases have one name here.
LOOK = f"""
cd /etc
ss --listening --tcp --numeric --no-header | awk '{{sub("[*]", "0.0.0.0", $4); print "listens " $4}}' | grep -v -e ':22$' -e 127.0.0.11:
for unit in nginx apache2 supervisor; do
    systemctl is-active --quiet $unit && echo "runs $unit"
    systemctl is-enabled --quiet $unit 2>/dev/null && echo "starts $unit"
done
systemctl list-units --state=active,failed --plain --no-legend '{NAME}*' 'system-{NAME}*' | awk '{{print "unit " $1 " " $3}}'
find systemd/system supervisor/conf.d -name '*{NAME}*' 2>/dev/null
find nginx/sites-enabled nginx/sites-available nginx/flaskops \\
    apache2/flaskops apache2/sites-enabled apache2/sites-available apache2/conf-enabled \\
    '(' -type f -o -type l ')' ! -name 'default*' ! -name 000-default.conf 2>/dev/null | grep -e flaskops -e sites-
find apache2/mods-enabled -name 'proxy*' -o -name 'headers*' -o -name 'wsgi*' 2>/dev/null
find /run /var/lib -name '*{NAME}*' 2>/dev/null | grep -v -e ^/run/systemd/ -e ^/run/flaskops/
ufw status | awk '$2 == "ALLOW" && $1 ~ /tcp$/ {{print "open " $1}}'
getent passwd {NAME} | cut -d: -f1 | sed 's/^/account /'
getent group {NAME} | cut -d: -f1 | sed 's/^/group /'
for process in $(pgrep -u {NAME}); do echo "process $(cat /proc/$process/comm)"; done
ls -d /srv/{NAME} 2>/dev/null
"""


def port(number: int) -> set[str]:
    """What holds a port of the app's own, and hands its connections on."""
    units = {f"{NAME}-port-{number}.socket", f"{NAME}-port-{number}.service"}
    return {f"listens 127.0.0.1:{number}", "process systemd-socket-", f"systemd/system/sockets.target.wants/{NAME}-port-{number}.socket"} | {
        line for unit in units for line in (f"unit {unit} active", f"systemd/system/{unit}")
    }


ALWAYS = {"open 22/tcp", f"account {NAME}", f"group {NAME}", f"/srv/{NAME}"}
UNIT = {f"unit {NAME}@R.service active", f"unit system-{NAME}.slice active"} | {
    f"systemd/system/{place}{NAME}@R.service" for place in ("", "multi-user.target.wants/")
}
NGINX = {"runs nginx", "starts nginx", f"nginx/flaskops/80/{NAME}.conf", "nginx/sites-available/80.conf", "nginx/sites-enabled/80.conf"} | {
    "listens 0.0.0.0:80", "listens [::]:80", "open 80/tcp"
}  # fmt: skip
APACHE = {"runs apache2", "starts apache2", f"apache2/flaskops/80/98-{NAME}.conf", "apache2/sites-available/80.conf"} | {
    "apache2/sites-enabled/80.conf", "apache2/conf-enabled/zz-flaskops.conf", "apache2/conf-enabled/flaskops-port-80.conf",
    "listens 0.0.0.0:80", "open 80/tcp"
}  # fmt: skip
MOD_WSGI = ALWAYS | APACHE | {f"apache2/mods-enabled/{one}" for one in ("wsgi.load", "wsgi.conf", "headers.load")} | {"process apache2"}
GUNICORN = ALWAYS | NGINX | UNIT | {"process gunicorn"}
APACHE_GUNICORN = ALWAYS | APACHE | UNIT | {"process gunicorn"} | {
    f"apache2/mods-enabled/{one}" for one in ("proxy.load", "proxy.conf", "proxy_http.load", "headers.load")
}  # fmt: skip
UWSGI = ALWAYS | NGINX | {"process uwsgi"}
SUPERVISORD = UWSGI | {"runs supervisor", "starts supervisor", f"supervisor/conf.d/{NAME}@R.conf"}
APACHE_UWSGI = ALWAYS | APACHE | UNIT | port(8930) | {"process uwsgi", f"/run/{NAME}-php.sock"} | {
    f"apache2/mods-enabled/{one}" for one in ("proxy.load", "proxy.conf", "proxy_uwsgi.load", "proxy_fcgi.load", "headers.load")
} | {
    f"unit {NAME}-php.socket active", f"systemd/system/{NAME}-php.socket", f"systemd/system/{NAME}-php.service",
    f"systemd/system/sockets.target.wants/{NAME}-php.socket",
}  # fmt: skip
DEVELOPMENT = ALWAYS | UNIT | port(5000) | {"process flask", "process python"}
TCP = {"nginx_gunicorn_listen": "127.0.0.1:8080"}
MOVES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "gunicorn": ("nginx_gunicorn", {}, GUNICORN),
    "mod_wsgi": ("apache_mod_wsgi", {}, MOD_WSGI),
    "uwsgi": ("nginx_uwsgi", {}, UWSGI | UNIT),
    "supervisord": ("nginx_uwsgi", {"uwsgi_app_manager": "supervisord"}, SUPERVISORD),
    "apache": ("apache_uwsgi_mysql", {"uwsgi_app_listen": "127.0.0.1:8930", "apache_site_php": {"/": "page"}}, APACHE_UWSGI),
    "gunicorn on TCP": ("nginx_gunicorn", TCP, GUNICORN | port(8080)),
    "nowhere": ("nginx_gunicorn", {"state": "absent"}, {"open 22/tcp"}),
    "development": ("dev_server", {"mount": "/"}, DEVELOPMENT),
    "uwsgi under Apache": ("apache_uwsgi_mysql", {}, {line for line in APACHE_UWSGI - port(8930) if not re.search("php|fcgi", line)}),
    "gunicorn under Apache": ("apache_gunicorn", {}, APACHE_GUNICORN),
    "nowhere from Apache": ("apache_gunicorn", {"state": "absent"}, {"open 22/tcp"}),
}
# Each fails only under its server, after the front has changed; the next step of the above must make it good.
FAILING = {"mod_wsgi": ("apache_mod_wsgi", "mod_wsgi"), "uwsgi": ("nginx_gunicorn", "gunicorn")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Flask app with a PHP page."""
    files = {name: (APPS / "shop" / name).read_bytes() for name in ("main.py", "requirements.txt", "static/style.css")}
    return write_source(tmp_path_factory.mktemp("source"), {**files, "page/index.php": PAGE})


def mover(source: Path | str, **settings: Any) -> list[dict[str, Any]]:
    """The one app."""
    return [app(NAME, source, **{"mount": "/app", "requirements": "requirements.txt", "health_timeout": 5, **settings})]


def state(host: Target) -> set[str]:
    """What the host has of all that a topology could leave behind."""
    found = host.run(f"({LOOK}) | sed -E 's/@[0-9a-f]{{12}}-[0-9a-f]{{8}}/@R/'", check=False)
    return set(found.splitlines())


def answers(host: Target, topology: str) -> None:
    """The app answers at its URL, below its mount."""
    if topology == "dev_server":
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/', timeout=5).read().decode())"
        assert "/items/7" in host.run("python3 -", stdin=ask)
    else:
        assert host.get("/app/").json() == {"item": "/app/items/7", "style": "/app/static/style.css", "query": ""}


def rejects_development(host: Target, source: Path) -> None:
    """On a host with a production app, another one gets no development server, and nothing is changed."""
    before = host.snapshot()
    play = host.play([app("other", source)], playbook="dev_server")
    words = [f"this host has the app {NAME} (nginx_gunicorn)", "a development server and production apps do not share a host"]
    assert (play.returncode, play.recap["changed"], missing(play.output, [*words, "Nothing was changed."])) == (2, 0, []), play.output
    assert differences(before, host.snapshot()) == {}


@pytest.mark.parametrize("move", each(MOVES, "gunicorn", "mod_wsgi", "uwsgi", "apache", "gunicorn on TCP", "nowhere"))
def test_move(target: Target, source: Path, tmp_path: Path, move: str) -> None:
    """To the next topology. Before some moves a release fails after its front has changed, or a development server is rejected."""
    topology, settings, expected = MOVES[move]
    if move in FAILING:
        playbook, module = FAILING[move]
        files = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
        guard = f"import sys\nif {module!r} in sys.modules:\n    raise RuntimeError('not here')\n".encode()
        code = files["main.py"].replace(b"from flask import", guard + b"from flask import", 1)
        broken = write_source(tmp_path, {**files, "main.py": code})
        play = target.play(mover(broken), playbook=playbook)
        assert play.returncode == 2 and "not here" in play.output, play.output
    if move == "nowhere":
        rejects_development(target, source)
    play = target.converge(mover(source, **settings), playbook=topology)
    assert state(target) == expected, play.output
    if settings.get("state") != "absent":
        answers(target, topology)
    else:
        assert traces(target, NAME) == ""
    if settings.get("apache_site_php"):
        assert target.get("/").json() == {"version": "page"}
        again = target.converge(mover(source, **settings), playbook=topology)
        assert again.recap["changed"] == 0, again.output
