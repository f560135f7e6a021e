"""uWSGI serves over each kind of socket, from the distribution and from the venv, under systemd and under supervisord."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import each
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Answer, Play, Target, app, eventually, write_source

ADDRESS = "198.18.2.150"
TOPOLOGY = "nginx_uwsgi"
SANDBOX_SCORE = 1.5
VENV = {"uwsgi_app_origin": "venv"}
SUPERVISORD = {"uwsgi_app_manager": "supervisord"}
SERVERS: dict[str, dict[str, Any]] = {
    "plain": {"flask_app_listen": "80", "uwsgi_app_threads": 4, "uwsgi_app_options": {"offload-threads": 1, "ignore-sigpipe": True}},
    "tcp": {"flask_app_listen": "81", "uwsgi_app_listen": "127.0.0.1:8930", "uwsgi_app_processes": 3, **VENV},
    "http": {"flask_app_listen": "82", "uwsgi_app_listen": "127.0.0.1:1024", "uwsgi_app_protocol": "http", "uwsgi_app_lazy": False, **SUPERVISORD},
    "green": {"flask_app_listen": "83", "uwsgi_app_worker_class": "gevent", "uwsgi_app_threads": 20, "uwsgi_app_processes": 1},
    "other": {
        "flask_app_listen": "84", "uwsgi_app_protocol": "http", "uwsgi_app_worker_class": "gevent", **SUPERVISORD,
        **VENV, "uwsgi_app_requirement": "pyuwsgi==2.0.29",
    },
}  # fmt: skip
VERSIONS = {"tcp": "2.0.30", "other": "2.0.29"}  # of those from the venv
SUITS = max(2, min(os.cpu_count() or 1, 12))  # processes by default; a target has the processors of this machine
PROCESSES = {"plain": SUITS, "tcp": 3, "http": SUITS, "green": 1, "other": SUITS}
SYSTEMD = [name for name in SERVERS if "uwsgi_app_manager" not in SERVERS[name]]
MOUNTS = {"mount": "/shop", "uwsgi_app_mounts": {"/your/path": "main:app"}}
SHOP = app("shop", APPS / "shop", requirements="requirements.txt", static={"/static": "static"}, **MOUNTS)
# What https://www.bloomberg.com/company/stories/configuring-uwsgi-production-deployment/ and uWSGI's own pages recommend.
RECOMMENDED = {
    "strict", "master", "need-app", "enable-threads", "single-interpreter", "vacuum", "no-orphans", "disable-logging", "log-4xx", "log-5xx",
    "max-worker-lifetime", "max-worker-lifetime-delta", "worker-reload-mercy", "auto-procname", "manage-script-name",
    "buffer-size", "py-sys-executable",
}  # fmt: skip
# An app that reports how uWSGI runs it, and is slow if requested; a file shows that it has begun.
MAIN = """
import json, os, subprocess, sys, tempfile, threading, time

VERSION = "one"
BEATS = []

def beat():
    while True:
        BEATS.append(time.monotonic())
        time.sleep(1)  # a thread that wants to run when a master without lazy-apps makes a process leaves that process hanging

threading.Thread(target=beat, daemon=True).start()

def app(environ, start_response):
    seconds = environ.get("PATH_INFO", "/").removeprefix("/sleep/")
    if seconds.isdigit():
        with tempfile.NamedTemporaryFile(prefix="asleep-", dir="../run"):
            time.sleep(int(seconds))
    reported = {"version": VERSION, "pid": os.getpid(), "uid": os.getuid(), "binary": os.readlink("/proc/self/exe")}
    reported["told"] = {name: value for name, value in os.environ.items() if name.startswith("FLASKOPS_")}
    reported["prefix"] = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True).stdout.strip()
    reported["beats"] = BEATS[-1] > time.monotonic() - 5
    try:
        import uwsgi
        reported["uwsgi"] = uwsgi.version.decode()
        reported["options"] = {name: str(value) for name, value in uwsgi.opt.items()}
        reported["patched"] = time.sleep.__module__
    except ImportError:  # the pre-flight
        pass
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] == "/large":
        return (b"x" * 65536 for _number in range(256))
    return [json.dumps(reported).encode()]
"""
LARGE = 256 * 65536  # bytes
# A visitor who pauses while he sends and while he takes, and then takes it slowly until a file is there.
SLOW_VISITOR = """
import os, socket, time
family, address = {}
with socket.socket(family) as connection:
    connection.connect(address)
    connection.sendall(b"POST /large HTTP/1.0\\r\\nContent-Length: 2\\r\\n\\r\\n1")
    time.sleep(6)
    connection.sendall(b"2")
    taken = len(connection.recv(65536))
    time.sleep(6)
    while piece := connection.recv(262144):
        taken += len(piece)
        time.sleep(0 if os.path.exists("/run/hurry") else 0.5)
print(taken)
"""
WHERE = {"socket": 'socket.AF_UNIX, "/srv/http/current/run/app.sock"', "port": 'socket.AF_INET, ("127.0.0.1", 1024)'}


def port(name: str) -> int:
    """The port on which an app's site listens."""
    return int(SERVERS[name]["flask_app_listen"])


def apps(source: Path, *names: str) -> list[dict[str, Any]]:
    """One app for each of these servers."""
    return [app(name, source, **SERVERS[name]) for name in names or SERVERS]


def changed(source: Path, directory: Path, replace: str, by: str) -> Path:
    """The same app with another line in its code."""
    code = (source / "main.py").read_text()
    assert replace in code
    return write_source(directory, {"main.py": code.replace(replace, by)})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's directory."""
    return write_source(tmp_path_factory.mktemp("uwsgi"), {"main.py": MAIN})


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A target with an app for each of the servers, and one under several mounts."""
    target.converge([*apps(source), SHOP])
    return target


def master(host: Target, name: str) -> int:
    """The process id of an app's uWSGI master."""
    instance = f"{name}@{host.live(name)}"
    ask = f"systemctl show --property=MainPID --value {instance}.service" if name in SYSTEMD else f"supervisorctl pid {instance}"
    return int(host.run(ask))


def reported(host: Target, name: str) -> dict[str, Any]:
    """What the app reports through the front."""
    answer = host.get("/", port=port(name))
    assert answer.status == 200, answer
    content: dict[str, Any] = answer.json()
    return content


def instances(host: Target, name: str) -> list[str]:
    """The app's instances that run or would, of both managers, without their manager's suffix."""
    units = host.run(f"systemctl list-units --plain --no-legend --state=active,activating,failed '{name}@*' | cut -d' ' -f1")
    wanted = host.run(f"cd /etc/systemd/system/multi-user.target.wants && ls -d {name}@* 2>/dev/null || true")
    programs = host.run(f"ls /etc/supervisor/conf.d; supervisorctl status | grep -o '^{name}@[^ ]*' || true")
    found = [line for line in f"{units}\n{wanted}\n{programs}".split() if line.startswith(f"{name}@")]
    return sorted({line.removesuffix(".service").removesuffix(".conf") for line in found})


@pytest.mark.parametrize("name", SERVERS)
def test_serves_as_its_own_account_with_its_processes(host: Target, source: Path, name: str) -> None:
    """The chosen number of processes below one master, none of them root's."""
    reported(host, name)
    main = master(host, name)
    workers = host.run(f"pgrep -P {main}").split()
    assert len(workers) == PROCESSES[name]
    for process in [main, *workers]:
        status = host.run(f"cat /proc/{process}/status")
        assert f"Uid:\t{reported(host, name)['uid']}\t" in status and reported(host, name)["uid"] != 0
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE) and re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)


@pytest.mark.parametrize("name", SYSTEMD)
def test_systemd_knows_when_it_is_ready_and_shuts_it_in(host: Target, source: Path, name: str) -> None:
    """Type=notify, and a sandbox that systemd rates well."""
    unit = f"{name}@{host.live(name)}.service"
    assert host.run(f"systemctl show --property=Type --value {unit}") == "notify"
    assert host.exposure(unit) <= SANDBOX_SCORE


@pytest.mark.parametrize("name", SERVERS)
def test_recommended_options_are_on(host: Target, name: str) -> None:
    """As uWSGI itself reports them to its app; and the choices arrive."""
    options = reported(host, name)["options"]
    assert RECOMMENDED - set(options) == set()
    assert "die-on-term" not in options
    assert ("lazy-apps" in options) == reported(host, name)["beats"] == SERVERS[name].get("uwsgi_app_lazy", True), (
        "a thread that is started at import"
    )
    assert ("http-socket" in options) == (SERVERS[name].get("uwsgi_app_protocol") == "http")
    assert ("gevent" in options) == (SERVERS[name].get("uwsgi_app_worker_class") == "gevent")
    assert "harakiri" not in options, "it is one limit for all threads of a process"
    assert reported(host, name)["patched"] == ("gevent.hub" if "gevent" in options else "time")


@pytest.mark.parametrize("name", SERVERS)
def test_app_knows_its_release_and_its_python(host: Target, name: str) -> None:
    """What it starts as Python has the packages of its virtual environment."""
    found, release = reported(host, name), f"/srv/{name}/releases/{host.live(name)}"
    assert found["prefix"] == f"{release}/.venv"
    assert found["told"] == {
        "FLASKOPS_APP": name, "FLASKOPS_RELEASE": host.live(name), "FLASKOPS_RELEASE_PATH": release, "FLASKOPS_PHASE": "web"
    }  # fmt: skip


def test_further_options_arrive(host: Target) -> None:
    """A number and a switch."""
    options = reported(host, "plain")["options"]
    assert (options["offload-threads"], options["ignore-sigpipe"]) == ("b'1'", "b'true'")


def test_origin_is_as_chosen(host: Target) -> None:
    """The distribution's binary, or the venv's own in the version that was chosen."""
    for name, settings in SERVERS.items():
        in_venv = settings.get("uwsgi_app_origin") == "venv"
        assert reported(host, name)["binary"].startswith("/usr/bin/python3" if in_venv else "/usr/bin/uwsgi")
        assert reported(host, name)["uwsgi"].startswith(VERSIONS.get(name, "2.0."))
    assert host.run("dpkg-query --show --showformat='${Status}' uwsgi 2>/dev/null || true") != "install ok installed", "it brings a service"


def test_listens_where_it_should(host: Target) -> None:
    """On unix sockets, and on loopback; nothing but nginx and SSH listens to others."""
    listening = host.run("ss --listening --tcp --numeric --no-header")
    outside = {line.split()[3].rpartition(":")[2] for line in listening.splitlines() if not line.split()[3].startswith(("127.", "[::1]"))}
    assert outside == {"22", "80", "81", "82", "83", "84"}
    assert "127.0.0.1:8930" in listening and "127.0.0.1:1024" in listening
    for name in SERVERS:
        assert host.run(f"stat -c %F /srv/{name}/current/run/app.sock") == "socket"


def test_speaks_the_chosen_protocol(host: Target) -> None:
    """HTTP is understood only if it was chosen."""
    ask = "python3 -c 'import urllib.request; print(urllib.request.urlopen(\"http://127.0.0.1:%d/\", timeout=5).status)'"
    assert host.run(ask % 1024) == "200"
    assert not host.succeeds(ask % 8930)


@pytest.mark.parametrize("mount", ["/shop", "/your/path"])
def test_urls_and_redirects_stay_below_each_mount(host: Target, mount: str) -> None:
    """One uWSGI, several prefixes: url_for, redirects and static files all stay below the one of the request."""
    assert host.get(f"{mount}/").json() == {"item": f"{mount}/items/7", "style": f"{mount}/static/style.css", "query": ""}
    assert host.get(f"{mount}/items/7?a=1").json() == {
        "number": 7, "path": "/items/7", "root": mount, "url": f"http://{ADDRESS}{mount}/items/7?a=1"
    }  # fmt: skip
    answer = host.get(f"{mount}/items", method="POST", body=b"x" * 5000)
    assert (answer.status, answer.headers["Location"]) == (303, f"{mount}/items/8")
    assert host.get(f"{mount}/folder").headers["Location"] == f"http://{ADDRESS}{mount}/folder/"
    assert host.get(f"{mount}/static/style.css").text == "body { color: navy; }\n"
    assert (host.get(mount).status, host.get(mount).headers["Location"]) == (308, f"{mount}/")
    assert host.get(f"{mount}ping/").json()["version"] == "one", "a longer name is no part of the mount"


def test_what_clients_send_arrives(host: Target) -> None:
    """A cookie that is longer than uWSGI takes by default, and the host of the request; no version is shown."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    connection.request("GET", "/shop/items/1", headers={"Cookie": f"a={'x' * 7000}", "Host": "else.example"})
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["url"]) == (200, "http://else.example/shop/items/1")
    assert not re.search(r"nginx/\d|uwsgi", str(answer.headers), re.IGNORECASE)
    connection.close()


@pytest.mark.parametrize("name", ["green", "other"])
def test_gevent_answers_slow_requests_side_by_side(host: Target, name: str) -> None:
    """More requests than processes, all of them under way."""
    at_once = int(SERVERS[name].get("uwsgi_app_threads", 2)) * PROCESSES[name]
    with ThreadPoolExecutor(at_once) as pool:
        asked = pool.map(lambda _number: host.get("/sleep/3", port=port(name)), range(at_once))
        asleep = f"ls /srv/{name}/current/run | grep -c asleep- || true"
        assert eventually(lambda: int(host.run(asleep)) == at_once, 3), "some wait for others"
    answers = list(asked)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["pid"] for answer in answers}) <= PROCESSES[name] < at_once


@pytest.mark.parametrize("name", SERVERS)
def test_killed_worker_and_killed_master_come_back(host: Target, name: str) -> None:
    """uWSGI replaces a worker, the manager replaces uWSGI, and no process of before stays."""
    worker, main = reported(host, name)["pid"], master(host, name)

    def replaced() -> bool:
        workers = host.run(f"pgrep -P {main} || true").split()
        return len(workers) == PROCESSES[name] and str(worker) not in workers

    host.run(f"kill -9 {worker}")
    assert eventually(replaced), "no worker took the killed one's place"
    assert host.get("/", port=port(name)).json()["pid"] != worker
    host.run(f"kill -9 {main}")
    # a worker that is left over may answer once more, before it notices
    assert eventually(lambda: master(host, name) not in (0, main) and host.get("/", port=port(name)).status == 200)
    after = master(host, name)

    def none_stays() -> bool:
        holds_port = host.run(f"pgrep -u {name} systemd-socket || true").split()
        running = set(host.run(f"pgrep -u {name}").split()).difference(holds_port)
        return running == {str(after), *host.run(f"pgrep -P {after}").split()}

    assert eventually(none_stays), host.run(f"ps -u {name} -o pid,ppid,args")


@pytest.mark.parametrize("name", ["tcp", "http"])
def test_a_request_is_answered_before_its_server_stops(host: Target, name: str) -> None:
    """A server on a shared port that is stopped for the next release ends what it has begun."""
    unit = f"{name}@{host.live(name)}"
    stop, start = (f"systemctl {verb} {unit}" if name in SYSTEMD else f"supervisorctl {verb} {unit}" for verb in ("stop", "start"))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(host.get, "/sleep/4", port(name))
        assert eventually(lambda: host.succeeds(f"ls /srv/{name}/current/run/asleep-*"))
        host.run(stop)
        assert answer.result().status == 200
    assert host.get("/", port=port(name)).status == 502
    host.run(start)
    assert eventually(lambda: host.get("/", port=port(name)).status == 200)


def under_load(host: Target, names: list[str], seconds: int, work: Callable[[], Play]) -> dict[str, list[Answer]]:
    """What three clients of each app got while work was done, in the order in which they got it."""
    over = threading.Event()

    def client(name: str, path: str) -> list[Answer]:
        answers = []
        while not over.is_set():
            answers.append(host.get(path, port=port(name)))
        return answers

    paths = [f"/sleep/{seconds}", f"/sleep/{seconds}", "/"]
    with ThreadPoolExecutor(len(paths) * len(names)) as pool:
        clients = {name: [pool.submit(client, name, path) for path in paths] for name in names}
        try:
            work()
        finally:
            over.set()
        return {name: [answer for one in found for answer in one.result()] for name, found in clients.items()}


def test_new_code_takes_over_without_a_lost_request(host: Target, source: Path, tmp_path: Path) -> None:
    """Under both managers: requests of three seconds that the old release has begun end well, and then it ends."""
    names = ["plain", "other"]
    before = {name: host.live(name) for name in names}
    venvs = host.run("stat -c '%n %i %Y' /srv/plain/venvs/* /srv/other/venvs/*")
    second = changed(source, tmp_path, 'VERSION = "one"', 'VERSION = "two"')
    answers = under_load(host, names, 3, lambda: host.converge(apps(second, *names)))
    for name in names:
        assert {answer.status for answer in answers[name]} == {200}, [answer for answer in answers[name] if answer.status != 200]
        assert {answer.json()["version"] for answer in answers[name]} == {"one", "two"}
        assert host.live(name) != before[name]
        assert instances(host, name) == [f"{name}@{host.live(name)}"]
        assert set(host.run(f"pgrep -u {name}").split()) == {str(master(host, name)), *host.run(f"pgrep -P {master(host, name)}").split()}
    assert host.run("stat -c '%n %i %Y' /srv/plain/venvs/* /srv/other/venvs/*") == venvs


@pytest.mark.parametrize("where", each(WHERE, "port"))
def test_a_slow_visitor_gets_all_of_it(host: Target, source: Path, where: str) -> None:
    """A signal would interrupt a process that waits for him; so the old release is asked to stop when it has sent everything."""
    host.run("rm -f /run/hurry")
    live, releases = host.live("http"), host.releases("http")
    with ThreadPoolExecutor(1) as pool, host.start([{**apps(source, "http")[0], "flask_app_environment": {"VISITOR": where}}]) as run:
        assert eventually(lambda: host.releases("http") != releases, 60)
        taken = pool.submit(host.run, "python3 -", stdin=SLOW_VISITOR.format(WHERE[where]))
        assert eventually(lambda: host.live("http") != live, 60)
        time.sleep(2)  # what would tell the old release to stop does it at once
        assert instances(host, "http") == sorted(f"http@{one}" for one in (live, host.live("http")))
        host.run("touch /run/hurry")
        output, _none = run.communicate()
    assert run.returncode == 0, output
    assert int(taken.result()) > LARGE
    assert instances(host, "http") == [f"http@{host.live('http')}"]


@pytest.fixture(scope="module")
def lives_before(host: Target) -> dict[str, str]:
    """Each server's live release before the second run of all apps."""
    return {name: host.live(name) for name in SERVERS}


@pytest.fixture(scope="module")
def second_run(host: Target, source: Path, lives_before: dict[str, str]) -> Play:
    """The run that lets one app give up sooner, gives two another environment, and has the rest as it was in the beginning."""
    plain, tcp, http, green, other = apps(source)
    changes = {"flask_app_environment": {"GREETING": "hello"}}
    return host.converge(
        [
            {**plain, "flask_app_timeout": 2, "uwsgi_app_processes": 1, "uwsgi_app_threads": 1},
            {**tcp, **changes},
            {**http, **changes},
            green,
            other,
            SHOP,
        ]
    )


def test_second_run_changes_only_what_differs(host: Target, second_run: Play) -> None:
    """A setting of the front, new releases, and the one that is gone back to; nothing of the apps that are as they were."""
    stage, activate = "Stage the release, and let it prove itself", "Make the release live, and ask for it through the front"
    plain, new, back = [stage, "Configure the front and the app's own port", activate], [stage, activate], [activate]
    assert second_run.changed == [*plain, *new, *new, *back]
    assert reported(host, "other")["version"] == "one"


def test_releases_on_a_shared_port_follow_one_another(host: Target, lives_before: dict[str, str], second_run: Play) -> None:
    """Another environment is another release of the same build, under both managers."""
    for name in ("tcp", "http"):
        assert host.live(name) != lives_before[name] and host.live(name).split("-")[0] == lives_before[name].split("-")[0]
        assert reported(host, name)["version"] == "one"
        assert instances(host, name) == [f"{name}@{host.live(name)}"]


def test_a_request_without_end_is_given_up(host: Target, second_run: Play) -> None:
    """harakiri, with one thread: the process is replaced, the front says 504, and the log says why."""
    before = reported(host, "plain")["pid"]
    assert host.get("/sleep/60").status in (502, 504)
    assert eventually(lambda: not host.succeeds(f"kill -0 {before}"))
    assert reported(host, "plain")["pid"] != before
    assert "HARAKIRI" in host.run(f"journalctl --unit=plain@{host.live('plain')} --output=cat --no-pager")


NO_OPTION = {"uwsgi_app_options": {"no-such-option": 1}}


@pytest.mark.parametrize(
    ("name", "code", "settings", "reason"),
    [
        ("tcp", "import nowhere", {}, "No module named 'nowhere'"),
        ("other", "pass", NO_OPTION, "[strict-mode] unknown config directive: no-such-option"),
    ],
    ids=["code", "option"],
)
def test_release_that_fails_under_uwsgi_goes_back(
    host: Target, source: Path, tmp_path: Path, name: str, code: str, settings: dict[str, Any], reason: str
) -> None:
    """It passes the pre-flight and does not start in uWSGI: the old release keeps serving, on its own socket or on the shared port."""
    live = host.live(name)
    broken = changed(source, tmp_path, "import json", f"import sys\nif 'uwsgi' in sys.modules:\n    {code}\nimport json")
    play = host.play([{**apps(broken, name)[0], **settings}])
    assert play.returncode == 2
    assert reason in play.output and f"Release {live} keeps serving." in play.output, play.output
    assert host.live(name) == live
    assert reported(host, name)["version"] == "one"
    assert instances(host, name) == [f"{name}@{live}"]
    assert len(host.run(f"ls /srv/{name}/releases/*/failed.json").split()) == 1
