"""A bad release serves nothing, whatever is bad about it and whatever serves it: the old one answers every request meanwhile."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app, eventually, missing, write_source

ADDRESS = "198.18.2.240"
# What serves an app, with the port that its front listens on: all topologies with a front, on one host.
SERVERS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "gunicorn": (
        "nginx_gunicorn",
        81,
        {"flask_app_listen": "81", "nginx_gunicorn_listen": "127.0.0.1:8080", "nginx_site_snippet": "if ($scheme = http) {\n    set $mine 1;\n}"},
    ),
    "uwsgi": ("nginx_uwsgi", 82, {"flask_app_listen": "82"}),
    "modwsgi": ("apache_mod_wsgi", 80, {}),
    "behindapache": ("apache_gunicorn", 83, {"flask_app_listen": "83"}),
    "uwsgiapache": ("apache_uwsgi_mysql", 84, {"flask_app_listen": "84"}),
}
BLUE_GREEN = ["gunicorn", "uwsgi", "behindapache"]
GOOD = """
import os, time

assert os.environ.get("MODE") != "bad", "this mode is bad"
VERSION = "good"


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION} {os.getpid()}".encode()]
"""
FUTURE = '[project]\nname = "future"\nversion = "1"\nrequires-python = ">=3.99"\n[build-system]\nrequires = []\nbuild-backend = "none"\n'
BAD = GOOD.replace('"good"', '"bad"')
# What is bad, as code that the app begins with, its settings, and the words that the play must say.
FAULTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "import error": (
        "print('about to fail')\nraise RuntimeError('no database 猫 \\x1b]0;{{ 6 * 7 }}\\x07')",
        {},
        ["importing main raised RuntimeError: no database 猫 ", "]0;{{ 6 * 7 }}", "about to fail", "Traceback", "main.py"],
    ),
    "health path 500": (
        "def broken(environ, start_response):\n    print('the queue is away', file=environ['wsgi.errors'])\n"
        "    start_response('500 Oh', [])\n    return [b'']\n",
        {"module": "main:broken", "health_path": "/healthz"},
        ["/healthz answered 500 Oh", "the queue is away"],
    ),
    "health path that hangs": (
        "def broken(environ, start_response):\n    print('waiting', flush=True)\n    time.sleep(600)\n",
        {"module": "main:broken", "health_timeout": 2},
        ["did not answer / in", "waiting"],
    ),
    "dies after 2 s": (
        "import threading\ndef die():\n    print('last words', flush=True)\n    os._exit(7)\nthreading.Timer(2, die).start()",
        {},
        ["then ended its process (code 7) by itself", "last words"],
    ),
    "requirement for another Python": ("", {"requirements": "requirements.txt"}, ["the venv cannot be built", "future==1 depends on Python>=3.99"]),
    "out of memory": ("held = bytearray(400 * 1024 * 1024)", {"memory_max": 128}, ["importing main raised MemoryError"]),
    "secret missing": ("TOKEN = os.environ['API_TOKEN']", {}, ["importing main raised KeyError: 'API_TOKEN'"]),
}  # fmt: skip
# What shows only under the server, after a pre-flight that went well.
UNDER_THE_SERVER: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "does not load": ("import sys\nif sys.argv[0] != '-':\n    raise RuntimeError('not here')", {}, ["RuntimeError: not here"]),
    "needs too much memory": (
        "import sys\nif sys.argv[0] != '-':\n    held = bytearray(400 * 1024 * 1024)", {"memory_max": 128, "health_timeout": 5}, ["MemoryError"]
    ),
    "hangs": ("import sys\nif sys.argv[0] != '-':\n    print('waiting', flush=True)\n    time.sleep(600)", {"health_timeout": 3}, ["waiting"]),
}  # fmt: skip


def shop(server: str, source: Path, **settings: Any) -> list[dict[str, Any]]:
    """The app of a server."""
    return [app(server, source, **{**SERVERS[server][2], **settings})]


def play(host: Target, server: str, source: Path, **settings: Any) -> Play:
    """Deploy a source under a server."""
    return host.play(shop(server, source, **settings), playbook=SERVERS[server][0])


def deploy_good(host: Target, source: Path, servers: Iterable[str], **settings: Any) -> None:
    """Deploy a source under several servers in one run."""
    host.converge([one for server in servers for one in shop(server, source, topology=SERVERS[server][0], **settings)], playbook="hosting")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the release that serves."""
    return write_source(tmp_path_factory.mktemp("good"), {"main.py": GOOD})


@pytest.fixture(scope="module")
def host(target: Target, good: Path) -> Target:
    """A target on which the good release is live under each server."""
    deploy_good(target, good, SERVERS)
    return target


@contextmanager
def asked_all_the_time(host: Target, server: str) -> Iterator[list[str]]:
    """Ask the app again and again; the answers that are not the good release's, and how many there were at the end."""
    wrong: list[str] = []
    answered, over = [0], threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            answer = host.get("/", port=SERVERS[server][1])
            answered[0] += 1
            if answer.status != 200 or not answer.text.startswith("good "):
                wrong.append(f"{answer.status} {answer.text[:80]}")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield wrong
    finally:
        over.set()
        asker.join()
    assert answered[0] > 10


def bad_source(directory: Path, code: str) -> Path:
    """A source that begins with something bad."""
    return write_source(directory, {"main.py": f"import os, time\n{code}\n{BAD}", "requirements.txt": "./future\n", "future/pyproject.toml": FUTURE})


def assert_rejected(host: Target, server: str, done: Play, live: str, words: list[str]) -> None:
    """The play says why, and the terminal only shows it; the old release is live, and the failed one is kept, with the reason."""
    assert done.returncode == 2 and "\x1b" not in done.output, done.output
    assert missing(done.output, [*words, f"Release {live} keeps serving."]) == [], done.output
    assert host.live(server) == live
    marked = host.run(f"ls -t /srv/{server}/releases/*/failed.json").splitlines()[0]
    assert marked.split("/")[4] != live
    noted = json.loads(host.run(f"cat {marked}"))
    assert missing(f"{noted['reason']}\n{noted['log']}", words) == [], noted


# The pre-flight is the same for each server: each fault meets one of them.
@pytest.mark.parametrize(("fault", "server"), zip(FAULTS, itertools.cycle(SERVERS)))
def test_bad_release_serves_nothing(host: Target, tmp_path: Path, server: str, fault: str) -> None:
    """The pre-flight finds it; the processes of the old release are the same as before."""
    code, settings, words = FAULTS[fault]
    live, processes = host.live(server), host.run(f"pgrep -u {server} | sort")
    with asked_all_the_time(host, server) as wrong:
        done = play(host, server, bad_source(tmp_path, code), **settings)
    assert wrong == []
    assert_rejected(host, server, done, live, words)
    assert host.run(f"pgrep -u {server} | sort") == processes


def test_failed_release_is_shown_and_never_gone_back_to(host: Target, tmp_path: Path) -> None:
    """Neither by its name."""
    live, reason = host.live("modwsgi"), "/ raised ZeroDivisionError: division by zero"
    done = play(host, "modwsgi", bad_source(tmp_path, "def broken(environ, start_response):\n    return 1 / 0\n"), module="main:broken")
    assert_rejected(host, "modwsgi", done, live, [reason, "main.py"])
    failed = host.run("ls -t /srv/modwsgi/releases/*/failed.json").splitlines()[0].split("/")[4]
    shown = host.converge(None, playbook="status", variables={"flask_app_name": "modwsgi"})
    assert missing(shown.output, [f"{failed}, failed: {reason}", f"live: {live}", "health 200 OK"]) == [], shown.output
    back = host.play(None, playbook="rollback", variables={"flask_app_name": "modwsgi", "flask_app_release": failed})
    assert back.returncode == 2 and missing(back.output, ["which failed before", "Nothing was changed."]) == [], back.output
    assert host.live("modwsgi") == live


@pytest.mark.parametrize("server", SERVERS)
def test_a_restart_replaces_all_processes_and_loses_no_request(host: Target, server: str) -> None:
    """Whatever server it is; the release stays the same."""
    live, before = host.live(server), set(host.run(f"pgrep -u {server}").split())
    masters = {line.split()[0] for line in host.run(f"ps --user {server} -o pid=,ppid=").splitlines() if line.split()[1] == "1"}
    with asked_all_the_time(host, server) as wrong:
        play = host.converge(None, playbook="restart", variables={"flask_app_name": server})
    assert wrong == [] and host.live(server) == live
    assert set(host.run(f"pgrep -u {server}").split()) & before == masters, play.output


# Behind Apache runs the same gunicorn, which no front sees before it is healthy.
@pytest.mark.parametrize("fault", UNDER_THE_SERVER)
@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_what_the_pre_flight_cannot_see_serves_nothing_either(host: Target, tmp_path: Path, server: str, fault: str) -> None:
    """The new instance never gets healthy on its own socket, so `current` does not move."""
    code, settings, words = UNDER_THE_SERVER[fault]
    live = host.live(server)
    with asked_all_the_time(host, server) as wrong:
        done = play(host, server, bad_source(tmp_path, code), **settings)
    assert wrong == []
    assert_rejected(host, server, done, live, words)
    assert host.run(f"systemctl list-units --all --plain --no-legend '{server}@*' | wc -l") == "1"


@pytest.mark.parametrize("server", BLUE_GREEN)
def test_failure_behind_the_front_switches_back(host: Target, tmp_path: Path, server: str) -> None:
    """Healthy on its own socket, an error through the front; the play says that the old release keeps serving."""
    answer = "'500 Oh' if 'HTTP_X_FORWARDED_FOR' in environ else '200 OK'"
    code = f"def broken(environ, start_response):\n    start_response({answer}, [])\n    return [b'bad']\n"
    live = host.live(server)
    done = play(host, server, bad_source(tmp_path, code), module="main:broken", health_timeout=2)
    assert_rejected(host, server, done, live, ["at 127.0.0.1:", "did not get healthy in 2 s: 500 Oh"])
    assert host.get("/", port=SERVERS[server][1]).text.startswith("good ")


def test_failure_in_apache_switches_back(host: Target, tmp_path: Path) -> None:
    """What fails only in mod_wsgi's process is seen through the front, and switched back."""
    live = host.live("modwsgi")
    source = bad_source(tmp_path, "import sys\nif 'mod_wsgi' in sys.modules:\n    raise RuntimeError('not in Apache')")
    done = play(host, "modwsgi", source, health_timeout=2)
    assert_rejected(host, "modwsgi", done, live, ["RuntimeError: not in Apache"])
    assert host.get("/").text.startswith("good ")


# What else may answer at the host's own name: a distribution's default page, or somebody's site.
OTHERS = {
    "nginx": ("/etc/nginx/conf.d/other.conf", "server {{ listen {port}; server_name localhost; return 200 welcome; }}"),
    "apache": (
        "/etc/apache2/sites-enabled/000-other.conf",
        "<VirtualHost *:{port}>\nServerName localhost\nDocumentRoot /var/www/html\n</VirtualHost>",
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_nobody_else_answers_for_a_release(host: Target, good: Path, server: str) -> None:
    """Another site answers 200 to the gate's question: the release, which nobody would see, fails; and so says the status."""
    topology, port, _settings = SERVERS[server]
    front = topology.partition("_")[0]
    path, text = OTHERS[front]
    live, service = host.live(server), {"nginx": "nginx", "apache": "apache2"}[front]
    host.run(f"cat >{path} && systemctl reload {service}", stdin=text.format(port=port))
    try:
        assert eventually(lambda: not host.get("/", port=port, host="localhost").text.startswith("good"))
        done = play(host, server, good, environment={"MODE": "unseen"}, health_timeout=2)
        status = host.converge(None, playbook="status", variables={"flask_app_name": server})
    finally:
        host.run(f"rm {path} && systemctl reload {service}")
    assert_rejected(host, server, done, live, ["another site's or release's answer: 200 OK", f"it has no X-Flaskops-App: /srv/{server} "])
    assert f"200 OK (it has no X-Flaskops-App: /srv/{server} {live})" in " ".join(status.output.split()), status.output
    with closing(http.client.HTTPConnection(ADDRESS, port, timeout=10)) as visitor:
        visitor.request("GET", "/", headers={"User-Agent": "flaskops-health"})
        seen = visitor.getresponse()
    assert seen.status == 200
    assert "flaskops" not in str(seen.headers).lower(), "visitors need not know"


@pytest.mark.parametrize("server", SERVERS)
def test_an_older_release_does_not_answer_for_a_new_one(host: Target, good: Path, server: str) -> None:
    """What still has the old release behind the same site answers 200: the new one, which nobody would see, fails."""
    topology, front = SERVERS[server][0], SERVERS[server][0].partition("_")[0]
    directory, service = {"nginx": ("nginx", "nginx"), "apache": ("apache2", "apache2")}[front]
    live, files, commands = host.live(server), f"/etc/{directory}/flaskops/*/*{server}.conf", []
    if server == "modwsgi":  # the old daemon processes are taken for the new release's
        commands = [f"sh -c 'echo loaded >$FLASKOPS_RELEASE_PATH/run/daemon-{process}'" for process in host.run(f"pgrep -u {server}").split()]
    else:  # the web server still has the old release's socket
        host.run(f"cp -a {files} /root/ && sed -i 's#/srv/{server}/current/run/#/srv/{server}/releases/{live}/run/#' {files}")
        host.run(f"systemctl reload {service}")
    apps = shop(server, good, topology=topology, environment={"MODE": "unseen"}, health_timeout=2, before_activation=commands)
    try:
        done = host.play(apps, playbook="deploy", variables={"flask_app_name": server})
    finally:
        host.run(f"cd /root && for file in *{server}.conf; do [ ! -e $file ] || mv $file {files}; done && systemctl reload {service}")
    assert_rejected(host, server, done, live, ["another site's or release's answer: 200 OK", f"it has no X-Flaskops-App: /srv/{server} "])
    assert host.get("/", port=SERVERS[server][1]).text.startswith("good ")


def test_changed_configuration_is_gated_too(host: Target, good: Path) -> None:
    """A variable alone makes a release that is switched to without a failed request, rejected if it is bad, and rolled back."""
    servers = ["uwsgi", "modwsgi", "behindapache"]
    first = {server: host.live(server) for server in servers}
    with ExitStack() as stack:
        wrong = [stack.enter_context(asked_all_the_time(host, server)) for server in servers]
        deploy_good(host, good, servers, environment={"MODE": "new"})
        second = {server: host.live(server) for server in servers}
        rejected = play(host, "modwsgi", good, secrets={"MODE": "bad"})
        assert_rejected(host, "modwsgi", rejected, second["modwsgi"], ["AssertionError: this mode is bad"])
        for server in servers:
            host.converge(None, playbook="rollback", variables={"flask_app_name": server})
    assert not any(wrong)
    for server in servers:
        assert host.live(server) == first[server] != second[server]
        assert first[server].split("-")[0] == second[server].split("-")[0]
