"""A bad release serves nothing, whatever is bad about it and whatever serves it: the old one answers every request meanwhile."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.suite import thorough
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
# What shows only to the front: with a unit of its own, in the requests that come through it; with mod_wsgi, in Apache's process.
AFTER_THE_FRONT = """def broken(environ, start_response):
    start_response('500 Oh' if 'HTTP_X_FORWARDED_FOR' in environ else '200 OK', [])
    return [b'bad']
"""
TO_THE_FRONT: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    **dict.fromkeys(
        BLUE_GREEN,
        (AFTER_THE_FRONT, {"module": "main:broken", "health_timeout": 5}, ["at 127.0.0.1:", "did not get healthy in 5 s: 500 Oh"]),
    ),
    "modwsgi": (
        "import sys\nif 'mod_wsgi' in sys.modules:\n    raise RuntimeError('not in Apache')", {"health_timeout": 5}, ["RuntimeError: not in Apache"]
    ),
}  # fmt: skip
PRE_FLIGHT, SERVER, FRONT = "the pre-flight", "the server", "the front"


@dataclass(frozen=True)
class Bad:
    """A bad release under one server, and what finds that it is bad."""

    server: str
    found_by: str
    code: str
    settings: dict[str, Any]
    words: list[str]


# The pre-flight is the same for each server: each fault meets one of those that have few others. Behind Apache runs the same gunicorn, which no
# front sees before it is healthy.
ALL_BAD = [
    *(Bad(server, PRE_FLIGHT, *fault) for fault, server in zip(FAULTS.values(), itertools.cycle(["modwsgi", "uwsgiapache", "behindapache"]))),
    *(Bad(server, SERVER, *fault) for server in ("gunicorn", "uwsgi") for fault in UNDER_THE_SERVER.values()),
    *(Bad(server, FRONT, *fault) for server, fault in TO_THE_FRONT.items()),
]
# For each run a bad release of each server, as long as a server has one more.
RUNS = [
    {bad.server: bad for bad in one if bad}
    for one in itertools.zip_longest(*([bad for bad in ALL_BAD if bad.server == server] for server in SERVERS))
]  # fmt: skip


def shop(server: str, source: Path, **settings: Any) -> dict[str, Any]:
    """The app of a server."""
    return app(server, source, **{**SERVERS[server][2], **settings})


def play(host: Target, apps: dict[str, dict[str, Any]], *arguments: str, playbook: str = "hosting") -> Play:
    """Run a playbook once for the apps of several servers: to Ansible each server is another host, and all of them are the target.

    So what fails under one keeps none of the others from their turn.
    """
    several = replace(host, work=host.work / "several")
    several.work.mkdir(exist_ok=True)
    login = yaml.safe_load(host.inventory.read_text())[host.topology]["hosts"][host.name]
    groups: dict[str, dict[str, Any]] = {SERVERS[server][0]: {"hosts": {}} for server in apps}
    for server, one in apps.items():
        groups[SERVERS[server][0]]["hosts"][server] = {**login, "flask_app_name": server, "flask_apps": [one]}
    several.inventory.write_text(yaml.safe_dump(groups, allow_unicode=True))
    return several.play(None, *arguments, playbook=playbook)


def deploy_good(host: Target, source: Path, servers: Iterable[str], **settings: Any) -> None:
    """Deploy a source under several servers in one run."""
    host.converge([shop(server, source, topology=SERVERS[server][0], **settings) for server in servers], playbook="hosting")


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
    """Ask the app again and again; the answers that are not the good release's."""
    wrong: list[str] = []
    answered, over = [0], threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
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
    assert re.search(rf"^{server} +: .* unreachable=0 +failed=1 ", done.output, re.MULTILINE), done.output
    (said,) = (task for task in done.output.split("\nTASK [") if f"\nfatal: [{server}]: " in task)
    assert missing(said, [*words, f"Release {live} keeps serving."]) == [], done.output
    assert host.live(server) == live
    marked = host.run(f"ls -t /srv/{server}/releases/*/failed.json").splitlines()[0]
    assert marked.split("/")[4] != live
    noted = json.loads(host.run(f"cat {marked}"))
    assert missing(f"{noted['reason']}\n{noted['log']}", words) == [], noted


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_bad_release_serves_nothing(host: Target, tmp_path: Path, number: int) -> None:
    """A run with a bad release under each server, whatever finds it.

    The pre-flight finds it beside the processes of the old release, which are the same as before. Under a server the new instance never gets healthy
    on its own socket, so `current` does not move. If only the front finds it, it is switched back.
    """
    releases = RUNS[number]
    live = {server: host.live(server) for server in releases}
    processes = {server: host.run(f"pgrep -u {server} | sort") for server in releases}
    apps = {server: shop(server, bad_source(tmp_path / server, bad.code), **bad.settings) for server, bad in releases.items()}
    with ExitStack() as stack:
        unnoticed = [server for server, bad in releases.items() if bad.found_by != FRONT]
        wrong = {server: stack.enter_context(asked_all_the_time(host, server)) for server in unnoticed}
        done = play(host, apps)
    assert wrong == {server: [] for server in unnoticed}
    for server, bad in releases.items():
        assert_rejected(host, server, done, live[server], bad.words)
        assert host.get("/", port=SERVERS[server][1]).text.startswith("good ")
        if bad.found_by == PRE_FLIGHT:
            assert host.run(f"pgrep -u {server} | sort") == processes[server]
        if bad.found_by == SERVER:
            assert host.run(f"systemctl list-units --all --plain --no-legend '{server}@*' | wc -l") == "1"


def test_every_server_meets_a_bad_release_wherever_one_can_be_found() -> None:
    """The runs above leave none out."""
    assert sum(map(len, RUNS)) == len(ALL_BAD) == len(FAULTS) + 2 * len(UNDER_THE_SERVER) + len(TO_THE_FRONT)
    assert RUNS[0].keys() == SERVERS.keys()


def test_failed_release_is_shown_and_never_gone_back_to(host: Target, tmp_path: Path) -> None:
    """Neither by its name."""
    live, reason = host.live("modwsgi"), "/ raised ZeroDivisionError: division by zero"
    source = bad_source(tmp_path, "def broken(environ, start_response):\n    return 1 / 0\n")
    done = play(host, {"modwsgi": shop("modwsgi", source, module="main:broken")})
    assert_rejected(host, "modwsgi", done, live, [reason, "main.py"])
    failed = host.run("ls -t /srv/modwsgi/releases/*/failed.json").splitlines()[0].split("/")[4]
    shown = host.converge(None, playbook="status", variables={"flask_app_name": "modwsgi"})
    assert missing(shown.output, [f"{failed}, failed: {reason}", f"live: {live}", "health 200 OK"]) == [], shown.output
    back = host.play(None, playbook="rollback", variables={"flask_app_name": "modwsgi", "flask_app_release": failed})
    assert back.returncode == 2 and missing(back.output, ["which failed before", "Nothing was changed."]) == [], back.output
    assert host.live("modwsgi") == live


def test_a_restart_replaces_all_processes_and_loses_no_request(host: Target, good: Path) -> None:
    """Whatever server it is; the release stays the same."""
    live = {server: host.live(server) for server in SERVERS}
    before = {server: set(host.run(f"pgrep -u {server}").split()) for server in SERVERS}
    listed = {server: host.run(f"ps --user {server} -o pid=,ppid=").splitlines() for server in SERVERS}
    masters = {server: {line.split()[0] for line in lines if line.split()[1] == "1"} for server, lines in listed.items()}
    with ExitStack() as stack:
        wrong = {server: stack.enter_context(asked_all_the_time(host, server)) for server in SERVERS}
        done = play(host, {server: shop(server, good) for server in SERVERS}, playbook="restart")
    assert done.returncode == 0, done.output
    assert wrong == {server: [] for server in SERVERS}
    for server in SERVERS:
        assert host.live(server) == live[server]
        assert set(host.run(f"pgrep -u {server}").split()) & before[server] == masters[server], done.output


# What else may answer at the host's own name: a distribution's default page, or somebody's site.
OTHERS = {
    "nginx": ("/etc/nginx/conf.d/other-{port}.conf", "server {{ listen {port}; server_name localhost; return 200 welcome; }}"),
    "apache": (
        "/etc/apache2/sites-enabled/000-other-{port}.conf",
        "<VirtualHost *:{port}>\nServerName localhost\nDocumentRoot /var/www/html\n</VirtualHost>",
    ),
}
RELOAD = "systemctl reload nginx apache2"


@thorough
def test_nobody_else_answers_for_a_release(host: Target, good: Path) -> None:
    """Another site answers 200 to the gate's question: the release, which nobody would see, fails; and so says the status."""
    live, files = {server: host.live(server) for server in SERVERS}, []
    for topology, port, _settings in SERVERS.values():
        path, text = OTHERS[topology.partition("_")[0]]
        files.append(path.format(port=port))
        host.run(f"cat >{files[-1]}", stdin=text.format(port=port))
    apps = {server: shop(server, good, environment={"MODE": "unseen"}, health_timeout=5) for server in SERVERS}
    try:
        host.run(RELOAD)
        for _topology, port, _settings in SERVERS.values():
            assert eventually(lambda port=port: not host.get("/", port=port, host="localhost").text.startswith("good"))  # type: ignore[misc]
        done = play(host, apps)
        shown = {server: host.converge(None, playbook="status", variables={"flask_app_name": server}).output for server in SERVERS}
    finally:
        host.run(f"rm {' '.join(files)} && {RELOAD}")
    for server, (_topology, port, _settings) in SERVERS.items():
        assert_rejected(host, server, done, live[server], ["another site's or release's answer: 200 OK", f"it has no X-Flaskops-App: /srv/{server} "])
        assert f"200 OK (it has no X-Flaskops-App: /srv/{server} {live[server]})" in " ".join(shown[server].split()), shown[server]
        with closing(http.client.HTTPConnection(ADDRESS, port, timeout=10)) as visitor:
            visitor.request("GET", "/", headers={"User-Agent": "flaskops-health"})
            seen = visitor.getresponse()
        assert seen.status == 200
        assert "flaskops" not in str(seen.headers).lower(), "visitors need not know"


def daemons(host: Target) -> set[str]:
    """The ids of the app's processes under mod_wsgi, of which there is none for a moment when Apache has just been reloaded."""
    return set(host.run("pgrep -u modwsgi || true").split())


def are_replaced(host: Target, old: set[str]) -> bool:
    """Whether Apache has replaced these processes, and goes on replacing none of the new ones."""
    found = daemons(host)
    time.sleep(1)
    return len(found) == len(old) and not found & old and daemons(host) == found


def test_an_older_release_does_not_answer_for_a_new_one(host: Target, good: Path) -> None:
    """What still has the old release behind the same site answers 200: the new one, which nobody would see, fails."""
    live = {server: host.live(server) for server in SERVERS}
    settings = {"environment": {"MODE": "unseen"}, "health_timeout": 5}
    apps = {server: shop(server, good, **settings) for server in SERVERS}
    others = SERVERS.keys() - {"modwsgi"}
    files = " ".join(f"/etc/*/flaskops/*/*{server}.conf" for server in others)
    host.run(f"tar --absolute-names --create --file=/root/files.tar {files}")
    old = daemons(host)
    for server in others:  # the web server still has the old release's socket
        host.run(f"sed -i 's#/srv/{server}/current/run/#/srv/{server}/releases/{live[server]}/run/#' {files}")
    try:
        host.run(RELOAD)
        assert eventually(lambda: are_replaced(host, old))
        # the old daemon processes are taken for the new release's
        loaded = [f"sh -c 'echo loaded >$FLASKOPS_RELEASE_PATH/run/daemon-{process}'" for process in daemons(host)]
        apps["modwsgi"] = shop("modwsgi", good, **settings, before_activation=loaded)
        done = play(host, apps, "-e", "deploy_any_errors_fatal=false", playbook="deploy")
    finally:
        host.run(f"tar --absolute-names --extract --file=/root/files.tar && {RELOAD}")
    for server in SERVERS:
        assert_rejected(host, server, done, live[server], ["another site's or release's answer: 200 OK", f"it has no X-Flaskops-App: /srv/{server} "])
        assert host.get("/", port=SERVERS[server][1]).text.startswith("good ")


def test_changed_configuration_is_gated_too(host: Target, good: Path) -> None:
    """A variable alone makes a release that is switched to without a failed request, rejected if it is bad, and rolled back."""
    servers = ["uwsgi", "modwsgi", "behindapache"]
    first = {server: host.live(server) for server in servers}
    with ExitStack() as stack:
        wrong = [stack.enter_context(asked_all_the_time(host, server)) for server in servers]
        deploy_good(host, good, servers, environment={"MODE": "new"})
        second = {server: host.live(server) for server in servers}
        rejected = play(host, {"modwsgi": shop("modwsgi", good, secrets={"MODE": "bad"})})
        assert_rejected(host, "modwsgi", rejected, second["modwsgi"], ["AssertionError: this mode is bad"])
        for server in servers:
            host.converge(None, playbook="rollback", variables={"flask_app_name": server})
    assert not any(wrong)
    for server in servers:
        assert host.live(server) == first[server] != second[server]
        assert first[server].split("-")[0] == second[server].split("-")[0]
