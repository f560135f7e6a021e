"""An app in mod_wsgi's daemon processes: its account, its secrets, its releases, its neighbours on the site, its end."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT, thorough
from ansible_collections.flaskops.hosting.tests.targets.awkward import MARK, SECRETS, WATCH, as_given, leaks
from ansible_collections.flaskops.hosting.tests.targets.harness import (
    APPS,
    Answer,
    Play,
    Target,
    app,
    differences,
    eventually,
    missing,
    write_source,
)
from ansible_collections.flaskops.hosting.tests.targets.test_absent import traces
from ansible_collections.flaskops.hosting.tests.targets.test_dry_run import builds, planned_tasks

ADDRESS = "198.18.2.160"
TOPOLOGY = "apache_mod_wsgi"
# what is installed, if the host is bare
VARIANT, PACKAGES = ("ubuntu-like", ["apache2", "libapache2-mod-wsgi-py3"]) if ALL_OF_IT else ("ubuntu-like-ready", [])
SUITS = max(2, min(os.cpu_count() or 1, 12))  # daemon processes by default; a target has the processors of this machine
OUTAGE = 15.0  # seconds, on a slow machine that is busy with other tests
STAGE, ACTIVATE = "Stage the release, and let it prove itself", "Make the release live, and ask for it through the front"
BROKEN = "qzbroken"  # an app whose first release fails
# The probe, with what only a server shows: its process, a slow answer, and three ways to name the callable.
MAIN = (APPS / "probe/main.py").read_text()
MAIN += """

def process(_argument):
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    groups = [int(one) for one in lines["Groups"].split()]
    ids = {"ppid": os.getppid(), "resuid": os.getresuid(), "resgid": os.getresgid(), "groups": groups}
    ids.update(umask=lines["Umask"].strip(), nice=os.nice(0), executable=__import__("sys").executable)
    return {**ids, "prefix": os.path.realpath(__import__("sys").prefix), "path": __import__("sys").path, "pid": os.getpid()}


def slow(seconds):
    open("../run/begun", "w").close()
    __import__("time").sleep(float(seconds))
    return VERSION



ACTIONS.update({"/process": process, "/slow": slow})
application = app


def anything(environ, start_response):
    if environ["PATH_INFO"] != "/request":
        return app(environ, start_response)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [json.dumps({"login": environ.get("HTTP_AUTHORIZATION", ""), "bytes": len(body)}).encode()]


def create_app():
    return app
"""
# The names are in no other file of the system. The first in the alphabet has the shortest mount.
ROOT, SHOP, PORT, NAMED = "qzaroot", "qzshop", "qzport", "qznamed"
FILES = {"main.py": MAIN, "requirements.txt": "itsdangerous==2.2.0\n", "static/style.css": "body {}\n", "private.txt": "mine"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's directory."""
    return write_source(tmp_path_factory.mktemp("source"), FILES)


def shop(source: Path, **settings: Any) -> dict[str, Any]:
    """The app with the secrets, a venv of its own and static files, below a mount."""
    given = {
        "secrets": as_given(SECRETS), "environment": {"PLAIN": "seen"}, "static": {"/static": "static"}, "requirements": "requirements.txt",
        "mount": "/app", "module": "main:anything", "health_timeout": 8, "apache_wsgi_processes": 1, "apache_wsgi_threads": 3,
        "apache_wsgi_options": {"cpu-priority": 5}, "max_body": 1,
    }  # fmt: skip
    return app(SHOP, source, **{**given, **settings})


def root(source: Path, **settings: Any) -> dict[str, Any]:
    """An app on the same site, made by a factory, whose mount is above the other's."""
    return app(ROOT, source, module="main:create_app()", secrets={"TOKEN": f"{MARK} root"}, **settings)


def apps(source: Path) -> list[dict[str, Any]]:
    """Two apps on one site, one on a port of its own, one with a name of its own on a site that sorts last."""
    named = app(NAMED, source, server_names=["named.example", "*.wild.example"], apache_site_name="wsgi-named")
    return [root(source), shop(source), app(PORT, source, module="main:application", listen="8081"), named]


@pytest.fixture(scope="module")
def dry(target: Target, source: Path) -> Play:
    """The dry run on the bare target, which has changed nothing."""
    return target.dry_run(apps(source))


@pytest.fixture(scope="module")
def real(target: Target, dry: Play, source: Path) -> Play:
    """The verbose run after the dry run, while somebody watched every process's arguments."""
    target.run("cat >/root/watch.py && systemd-run --quiet --nice=10 --unit=watch python3 /root/watch.py", stdin=WATCH)
    play = target.converge(apps(source), "-vvv", "--diff")
    target.run("systemctl stop watch")
    return play


@pytest.fixture(scope="module")
def host(target: Target, real: Play) -> Target:
    """The target with all four apps."""
    return target


def changed(source: Path, directory: Path, version: str, **files: str) -> Path:
    """The same app with another version."""
    code = {"main.py": MAIN.replace('VERSION = "one"', f'VERSION = "{version}"')}
    return write_source(directory, {**FILES, **code, **files})


def daemons(host: Target, account: str) -> list[str]:
    """The processes of an app's account."""
    return host.run(f"pgrep -u {account} || true").split()


def parent(host: Target) -> int:
    """Apache's parent process."""
    return int(host.run("systemctl show --property=MainPID --value apache2.service"))


def version(host: Target) -> str:
    """What the shop answers."""
    return str(host.get("/app/").json()["version"])


def begin_slow(host: Target, pool: ThreadPoolExecutor, seconds: int) -> Any:
    """Send a slow request; returns its future answer when the app has begun with it."""
    begun = f"/srv/{SHOP}/current/run/begun"
    host.run(f"rm -f {begun}")
    answer = pool.submit(host.get, f"/app/slow?path={seconds}")
    assert eventually(lambda: host.succeeds(f"test -e {begun}"))
    return answer


def test_the_run_does_what_the_dry_run_showed(host: Target, dry: Play, real: Play) -> None:
    """Packages, files, builds; the same tasks change, the same files."""
    words = [*PACKAGES, "WSGIDaemonProcess", f"{SHOP} would answer at http://{ADDRESS}/app/ "]
    assert missing(dry.output, words) == []
    assert sorted(set(real.changed)) == sorted(set(planned_tasks(dry)))
    assert dry.diffs <= real.diffs
    unplanned = {path for path in real.diffs - dry.diffs if host.succeeds(f"test -e {path} -o -L {path}")}
    assert unplanned == set()
    assert builds(dry) == builds(real) and len(builds(real)) == 4


def test_second_run_changes_nothing(host: Target, source: Path) -> None:
    """Neither Ansible's count nor the file system knows of a change."""
    before, processes = host.snapshot(), daemons(host, SHOP)
    again = host.converge(apps(source), "--diff")
    assert (again.recap["changed"], again.changed, again.diffs) == (0, [], set())
    assert differences(before, host.snapshot()) == {} and daemons(host, SHOP) == processes


def test_each_app_is_reached_where_it_should_be(host: Target) -> None:
    """By mount, port and name, whatever order Apache reads the files in; each with its own callable, account and mount."""
    for name, path, port, asked in (
        (ROOT, "", 80, None), (ROOT, "/apple", 80, "else.example"), (SHOP, "/app", 80, None), (PORT, "", 8081, None),
        (NAMED, "", 80, "named.example"), (NAMED, "", 80, "a.wild.example"),
    ):  # fmt: skip
        assert host.get(f"{path}/", port=port, host=asked).json() == {"version": "one", "mount": path if path == "/app" else ""}, name
        if path != "/apple":
            assert host.get(f"{path}/process", port=port, host=asked).json()["resuid"] == [int(host.run(f"id -u {name}"))] * 3
    assert host.get("/app?a=1").json()["mount"] == "/app"


def test_documented_process_tree(host: Target) -> None:
    """Apache's parent is root's, those that serve are www-data's, the daemon processes are the app's, without a login shell."""
    listed = [line.split() for line in host.run(f"ps --no-headers -o pid,user:32 --ppid {parent(host)}").splitlines()]
    assert host.run(f"ps --no-headers -o user {parent(host)}") == "root"
    owners = [user for _pid, user in listed]
    assert {user: owners.count(user) for user in set(owners) - {"www-data"}} == {SHOP: 1, ROOT: SUITS, PORT: SUITS, NAMED: SUITS}
    assert owners.count("www-data") >= 2
    shown = host.get("/app/process").json()
    uid, gid = int(host.run(f"id -u {SHOP}")), int(host.run(f"id -g {SHOP}"))
    assert (shown["ppid"], shown["resuid"], shown["resgid"], shown["groups"]) == (parent(host), [uid] * 3, [gid] * 3, [gid])
    assert shown["prefix"].startswith(f"/srv/{SHOP}/venvs/"), "not the app's own venv"
    assert not [path for path in shown["path"] if "/current/" in path], "what it imports after a switch would be the next release's"
    assert host.run(f"getent passwd {SHOP}").endswith("/nonexistent:/usr/sbin/nologin")


def test_process_is_as_under_the_other_servers(host: Target) -> None:
    """Its umask, its PATH, its Python and what it knows of its release; and a further option of its daemon process."""
    shown, release = host.get("/app/process").json(), f"/srv/{SHOP}/releases/{host.live(SHOP)}"
    assert (shown["umask"], shown["nice"], shown["executable"]) == ("0027", 5, f"{release}/.venv/bin/python")
    seen = {name: bytes.fromhex(value).decode() for name, value in host.get("/app/environment").json().items()}
    assert seen["PATH"] == f"{release}/.venv/bin:/usr/local/bin:/usr/bin:/bin"
    assert {name: value for name, value in seen.items() if name.startswith("FLASKOPS_")} == {
        "FLASKOPS_APP": SHOP, "FLASKOPS_RELEASE": host.live(SHOP), "FLASKOPS_RELEASE_PATH": release, "FLASKOPS_PHASE": "web"
    }  # fmt: skip


@pytest.mark.parametrize(("mebibytes", "status"), [(0.5, 200), (2, 413)])
def test_login_and_a_body_without_a_length_arrive(host: Target, mebibytes: float, status: int) -> None:
    """The app itself checks a login, and a browser may send a body in chunks, which has the same limit."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    chunk = b"x" * 2**16
    pieces = int(mebibytes * 16)
    connection.request("POST", "/app/request", body=iter([chunk] * pieces), headers={"Authorization": "Bearer x"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == status
    assert status != 200 or json.load(answer) == {"login": "Bearer x", "bytes": pieces * len(chunk)}
    connection.close()


def test_logs_are_rotated_without_a_reload(host: Target) -> None:
    """A reload would cost requests. No process is replaced, and the logs of visitors and of errors go on."""
    assert host.run("systemctl is-active logrotate.timer; systemctl is-enabled logrotate.timer").split() == ["active", "enabled"]
    host.get("/app/before")
    processes = host.run(f"pgrep -P {parent(host)}")
    host.run("logrotate --force /etc/logrotate.conf")
    time.sleep(1)  # a reload begins a moment after its signal
    host.get("/app/after")
    assert host.run(f"pgrep -P {parent(host)}") == processes
    now, before = (host.run(f"cat /var/log/apache2/80-access.log{ending}") for ending in ("", ".1"))
    assert "/app/before" in before and "/app/before" not in now and "/app/after" in now
    assert host.run("stat -c '%a %U %G' /var/log/apache2/80-access.log /var/log/apache2/80-access.log.1").splitlines() == ["640 root adm"] * 2


def test_every_byte_of_a_secret_arrives(host: Target) -> None:
    """The app's own view of its environment, which has no other app's."""
    seen = host.get("/app/environment").json()
    assert {name: bytes.fromhex(seen[name]).decode() for name in SECRETS} == SECRETS
    assert bytes.fromhex(seen["PLAIN"]) == b"seen" and "TOKEN" not in seen


def test_secrets_are_nowhere_else(host: Target, real: Play) -> None:
    """Neither in what Ansible says, nor in arguments, logs or another file; only root and the app read the file."""
    assert leaks(real.output) == [] and "variable: QUOTES (" in real.output
    seen = host.run("cat /root/arguments")
    assert "apache2" in seen and leaks(seen) == []
    found = host.run(f"grep -rlsF -e '{MARK}' /etc /home /opt /root /run /srv /tmp /usr/local /var || true").split()
    assert sorted(found) == sorted(host.run(f"ls /srv/{SHOP}/releases/*/environment /srv/{ROOT}/releases/*/environment").split())
    for path in found:
        name = path.split("/")[2]
        assert host.run(f"stat -c '%a %U %G' {path}") == f"640 root {name}"
        for other in ("www-data", PORT):
            assert not host.succeeds(f"setpriv --reuid={other} --regid={other} --init-groups cat {path}")
        assert "refused" in host.get(f"/read?path={path}", port=8081).json()
    assert leaks(host.run("journalctl --no-pager --output=export")) == []


def test_the_app_cannot_write_its_code(host: Target) -> None:
    """Nothing of its release but run/."""
    for path in ("code/main.py", "code/new", f"{SHOP}.wsgi", "environment", ".venv/new", "new"):
        assert host.get(f"/app/write?path=/srv/{SHOP}/current/{path}").json()["refused"] == "PermissionError", path


def test_nothing_but_the_app_and_its_static_files_is_served(host: Target) -> None:
    """No code, no settings, no directory's names, and no version."""
    assert host.get("/app/static/style.css").text == "body {}\n"
    assert host.get("/app/static/").status in (403, 404)
    tries = ("../main.py", "static/../main.py", "static/%2e%2e/main.py", "static/..%2fmain.py", "static../private.txt")
    for path in tries:
        answer = host.get(f"/app/{path}")
        assert answer.status in (400, 403, 404) or answer.json() == {"version": "one", "mount": answer.json()["mount"]}, path
    for path in ("/app/static/nothing", "/%00"):
        answer = host.get(path)
        assert answer.status in (400, 404) and answer.headers["Server"] == "Apache"
        assert "Apache/" not in answer.text and "Debian" not in answer.text and "mod_wsgi" not in f"{answer.headers}"


def under_load(host: Target, work: Callable[[], Play], *paths: str) -> tuple[Play, list[list[tuple[float, Answer]]]]:
    """The run that was the work, and what one client for each path, who never pauses, got meanwhile, and when."""
    over = threading.Event()

    def client(path: str) -> list[tuple[float, Answer]]:
        answers = []
        while not over.is_set():
            answers.append((time.monotonic(), host.get(path)))
        return answers

    with ThreadPoolExecutor(len(paths)) as pool:
        clients = [pool.submit(client, path) for path in paths]
        try:
            play = work()
        finally:
            over.set()
        return play, [one.result() for one in clients]


def longest_outage(answers: list[tuple[float, Answer]]) -> float:
    """For how many seconds a client that asked again and again got no good answer."""
    good = [when for when, answer in answers if answer.status == 200]
    assert {answer.status for _when, answer in answers} <= {200, 500, 503}
    assert all("<title>500 " in answer.text for _when, answer in answers if answer.status == 500), "Apache's own, of a request that is cut"
    return max(later - earlier for earlier, later in zip(good, good[1:], strict=False))


def test_new_code_with_a_new_venv_takes_over(host: Target, source: Path, tmp_path: Path) -> None:
    """No request is lost, also when the old process is never idle, for longer than a release's health timeout; no other app is touched.

    And back, while a request of eight seconds ends with the answer of the release that it began in.
    """
    before, venv, others = host.live(SHOP), host.get("/app/process").json()["prefix"], daemons(host, ROOT)
    second = changed(source, tmp_path, "two", **{"requirements.txt": "itsdangerous==2.1.2\n"})
    play, answers = under_load(host, lambda: host.converge([shop(second)]), "/app/slow?path=0.5", "/app/slow?path=0.7", "/app/")
    assert play.changed == [STAGE, ACTIVATE]
    assert {answer.status for one in answers for _when, answer in one} == {200}
    assert {answer.json()["version"] for _when, answer in answers[2]} == {"one", "two"}
    assert version(host) == "two" and host.live(SHOP).split("-")[0] != before.split("-")[0]
    assert host.get("/app/process").json()["prefix"] != venv
    old = daemons(host, SHOP)
    with ThreadPoolExecutor(1) as pool:
        answer = begin_slow(host, pool, 8)
        assert host.converge([shop(source)]).changed == [ACTIVATE]
        assert (answer.result().status, answer.result().text) == (200, '"two"')
    assert host.live(SHOP) == before and version(host) == "one"
    assert not set(daemons(host, SHOP)) & set(old) and daemons(host, ROOT) == others


def test_process_that_starts_during_a_switch_is_replaced(host: Target) -> None:
    """It has Python's home of one release and the script of the next: it ends before its first request, and the next one is whole."""
    old = f"/srv/{SHOP}/releases/{host.live(SHOP)}"
    venvs = {f"/srv/{SHOP}/releases/{name}": host.run(f"readlink -f /srv/{SHOP}/releases/{name}/.venv") for name in host.releases(SHOP)}
    new = next(path for path, venv in venvs.items() if venv != venvs[old])
    slow = host.run(f"ls -d {old}/.venv/lib/python3*/site-packages") + "/slow.pth"  # Python reads it as it starts
    (before,) = daemons(host, SHOP)
    host.run(f"echo 'import time; time.sleep(5)' >{slow}; kill -9 {before}")
    assert eventually(lambda: daemons(host, SHOP) not in ([], [before]), 5)
    (mixed,) = daemons(host, SHOP)
    host.run(f"ln -sfn {new} /srv/{SHOP}/current")
    shown = host.get("/app/process").json()
    assert str(shown["pid"]) != mixed and shown["prefix"] == venvs[new]
    host.run(f"rm {slow}; ln -sfn {old} /srv/{SHOP}/current; kill -9 {shown['pid']}")
    assert eventually(lambda: venvs[old] in host.get("/app/process").text)


def test_changed_settings_of_apache_are_hardly_noticed(host: Target, source: Path) -> None:
    """They are no release. Apache's reload replaces all apps' daemon processes: for a moment it may say 503, or 500, and no longer.

    A snippet's lines for the app above do not touch the one below.
    """
    snippet = "SetEnv X 1\nHeader always set X-Snippet root"
    play, answers = under_load(host, lambda: host.converge([root(source, timeout=20, apache_site_snippet=snippet)]), "/app/", "/")
    assert max(map(longest_outage, answers)) < OUTAGE
    assert play.changed == ["Configure the front and the app's own port"]
    assert host.get("/").headers["X-Snippet"] == "root"
    assert "X-Snippet" not in host.get("/app/").headers


def test_reboot(host: Target) -> None:
    """After a boot all apps answer with no help; the next run, which the next test is about, has nothing to mend."""
    host.reboot()
    assert eventually(lambda: [host.get(path, port=port).status for path, port in (("/", 80), ("/app/", 80), ("/", 8081))] == [200] * 3)


@thorough
def test_changed_environment_is_a_release_of_the_same_build(host: Target, source: Path) -> None:
    """It goes live, and back, like code, and Apache's own files stay as they are."""
    before = host.live(SHOP)
    play = host.converge([shop(source, environment={"PLAIN": "changed"})])
    assert play.changed == [STAGE, ACTIVATE]
    assert host.live(SHOP) != before and host.live(SHOP).split("-")[0] == before.split("-")[0]
    assert bytes.fromhex(host.get("/app/environment").json()["PLAIN"]) == b"changed"
    assert host.converge([shop(source)]).changed == [ACTIVATE]
    assert host.live(SHOP) == before and bytes.fromhex(host.get("/app/environment").json()["PLAIN"]) == b"seen"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The app, which does not load in Apache."""
    code = "import os, sys\nif 'mod_wsgi' in sys.modules:\n    raise RuntimeError('cannot log in with ' + os.environ['QUOTES'])\n"
    return write_source(tmp_path, {**FILES, "main.py": code + MAIN.replace("from __future__ import annotations\n", "")})


def test_first_release_that_fails_is_nowhere_live(host: Target, broken: Path) -> None:
    """Apache starts no process for it; another test removes it by its name."""
    play = host.play([app(BROKEN, broken, mount="/broken", secrets={"QUOTES": "a secret"}, health_timeout=2)])
    assert play.returncode == 2 and missing(play.output, ["cannot log in with <QUOTES>", "No release is live."]) == []
    assert eventually(lambda: daemons(host, BROKEN) == []) and host.get("/broken/").status == 200, "the app at / has it"
    assert version(host) == "one"


def test_release_that_fails_in_apache_alone_goes_back(host: Target, broken: Path) -> None:
    """It passes the pre-flight; the old release keeps serving, and the message has the reason without the secret."""
    live = host.live(SHOP)
    play = host.play([shop(broken, health_timeout=2)])
    assert play.returncode == 2
    assert missing(play.output, ["RuntimeError: cannot log in with <QUOTES>", f"Release {live} keeps serving.", "does not start"]) == []
    assert leaks(play.output) == []
    assert host.live(SHOP) == live and version(host) == "one"
    assert len(host.run(f"ls /srv/{SHOP}/releases/*/failed.json").split()) == 1


def test_rejected_snippet_is_put_back(host: Target, source: Path) -> None:
    """Apache's own message is shown, what it read before is there still, and without the snippet there is nothing to do."""
    before = host.snapshot("/etc/apache2")
    play = host.play([shop(source, apache_site_snippet="NoSuchDirective on")])
    assert play.returncode == 2
    assert missing(play.output, ["apache2ctl configtest: exit code 1", "Invalid command 'NoSuchDirective'"]) == []
    assert differences(before, host.snapshot("/etc/apache2")) == {}
    assert version(host) == "one"
    assert host.converge([shop(source)]).recap["changed"] == 0


def test_conflicts_are_rejected(host: Target, source: Path) -> None:
    """Each with its variable, what was given and what would be right; nothing is changed."""
    host.run("printf '#!/bin/sh\\necho 3.9\\n' >/usr/local/bin/python3.9 && chmod +x /usr/local/bin/python3.9")
    before = host.snapshot()
    words = [
        "flask_app_python: got '/usr/local/bin/python3.9', which is Python 3.9, but the distribution's mod_wsgi is built for Python 3.13",
        "flask_app_python: /usr/bin/python3", f"flask_app_mount: /app on port 80 is the app {SHOP}'s", "Nothing was changed.",
    ]  # fmt: skip
    play = host.play([app("new", source, python="/usr/local/bin/python3.9", mount="/app")])
    assert (play.returncode, play.recap["changed"], missing(play.output, words)) == (2, 0, []), play.output
    assert differences(before, host.snapshot()) == {}


def test_killed_daemon_process_and_stopped_apache_come_back(host: Target, source: Path) -> None:
    """Apache replaces its daemon process; a run starts Apache again."""
    (before,) = daemons(host, SHOP)
    host.run(f"kill -9 {before}")
    assert eventually(lambda: daemons(host, SHOP) not in ([], [before]))
    assert eventually(lambda: host.get("/app/").status == 200)
    host.run("systemctl disable --now --quiet apache2")
    host.converge([shop(source)])
    assert version(host) == "one" and host.run("systemctl is-enabled apache2") == "enabled"


@thorough
def test_app_that_moves_on_its_front_leaves_nothing(host: Target, source: Path) -> None:
    """To another mount, name and port, and back: Apache's files are as they were."""
    places = ("/etc/apache2", "/etc/flaskops/apps", "/etc/ufw/user.rules")
    before = {path: facts.split()[:-1] for path, facts in host.snapshot(*places).items()}
    host.converge([shop(source, mount="/a/b", server_names=["moved.example"], listen="8082")])
    assert host.get("/a/b/", port=8082, host="moved.example").json()["mount"] == "/a/b"
    assert host.get("/app/").json()["mount"] == "", "the app at / has it now"
    assert not [path for path in host.snapshot("/etc/apache2") if SHOP in path and not path.endswith(f"8082-moved.example/97-{SHOP}.conf")]
    host.converge([shop(source)])
    assert {path: facts.split()[:-1] for path, facts in host.snapshot(*places).items()} == before
    assert "8082" not in host.run("ufw status; ss --listening --tcp --numeric")


def test_removing_some_leaves_the_others(host: Target) -> None:
    """The neighbour on the site hardly notices; nothing of the apps stays, also of one that never served."""
    gone = [{"flask_app_name": name, "flask_app_state": "absent"} for name in (SHOP, PORT, BROKEN)]
    _play, (answers,) = under_load(host, lambda: host.converge(gone), "/")
    assert longest_outage(answers) < OUTAGE
    assert [traces(host, name) for name in (SHOP, PORT, BROKEN)] == [""] * 3
    assert "8081" not in host.run("ufw status; ss --listening --tcp --numeric; ls /etc/apache2/conf-enabled")
    assert host.get("/", host="named.example").json()["version"] == "one"


@thorough
def test_absent_leaves_nothing(host: Target) -> None:
    """Apache serves nothing and is stopped; it is configured as its package left it, but for its default site."""
    host.converge([{"flask_app_name": NAMED, "flask_app_state": "absent"}])
    gone = [{"flask_app_name": ROOT, "flask_app_state": "absent"}]
    dry = host.converge(gone, "--check", "--diff")
    real = host.converge(gone, "--diff")
    assert dry.changed == real.changed and dry.diffs <= real.diffs
    assert traces(host, ROOT) == "" and traces(host, NAMED) == ""
    assert host.run("cd /etc/apache2 && find -name '*flaskops*' -o -path './sites-enabled/*' -o -path './mods-enabled/wsgi*'") == ""
    assert host.run("systemctl is-active apache2 || true; systemctl is-enabled apache2 || true").split() == ["inactive", "disabled"]
    listening = host.run("ss --listening --tcp --numeric --no-header | awk '{print $4}' | grep -v '^127' | sed 's/.*://' | sort -u")
    assert listening == "22"
    assert "80" not in host.run("ufw status")
