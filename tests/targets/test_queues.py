"""Workers with real queues: the examples of the documentation, and no message is lost or misread by a release."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.documents import sections_of
from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT, thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, SSH_OPTIONS, Target, app, eventually, write_source

ADDRESS = "198.18.2.186"
PAGE = sections_of(ROOT / "docs/workers-and-jobs.md")
REDIS = "redis://:s3cret@127.0.0.1:6379"
SHOWN = {"celery": ("Celery with beat", "82"), "loop": ("A plain loop", "83")}
MICROBLOG = "RQ: a microblog"
(SITE,) = (yaml.safe_load(block.text) for block in PAGE[MICROBLOG] if block.file == "blog.yml")
RQ = SITE["nginx_gunicorn"]["vars"]["flask_app_workers"]["rq"]["command"]
# Each release sends messages of its own form, and takes those of releases before it: an older one would misread it, and fail.
# What takes long to import is imported by those that need it.
STREAM = {
    "main.py": """
import os, time
from redis import Redis

FORM = {form}
redis = Redis.from_url(os.environ["RQ_REDIS_URL"])


def do(kind, form, number, sent, seconds):
    if form > FORM:
        redis.rpush(f"misread-{{kind}}", number)
        raise ValueError(f"form {{form}} is unknown to {{FORM}}")
    if kind == "rq":
        from rq import get_current_job
        if not get_current_job().retries_left:
            redis.rpush("again-rq", number)
    redis.rpush(f"waits-{{kind}}", time.time() - sent)
    time.sleep(seconds)
    redis.rpush(f"done-{{kind}}", number)


def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/":
        return [str(FORM).encode()]
    from rq import Queue, Retry
    from tasks import do_task
    number, seconds = environ["PATH_INFO"].split("/")[1:]
    message = ("rq", FORM, int(number), time.time(), float(seconds))
    Queue(connection=redis).enqueue("main.do", *message, job_timeout=600, retry=Retry(max=1))
    do_task.delay(FORM, int(number), time.time(), float(seconds))
    return [b"sent"]
""",
    "tasks.py": """
import os
from celery import Celery
from main import do

tasks = Celery("main", broker=os.environ["BROKER_URL"])
tasks.conf.worker_prefetch_multiplier = 1


@tasks.task(name="do")
def do_task(*given):
    do("celery", *given)
""",
    "requirements.txt": "rq==3.0.0\ncelery[redis]==5.7.0\n",
}
KINDS = ("rq", "celery")
WORKERS = {
    "rq": {"command": RQ, "count": 2, "settle": 2, "stop_timeout": 120},
    "celery": {"command": "celery -A tasks worker --concurrency 2", "settle": 2, "stop_timeout": 120},
}
RELEASES = 5
OURS = "stream"
# The same releases, switched in the order of others, with the units of ours: the app's name, its port and its databases in Redis.
STREAMS = {OURS: ("84", 2), "dokku": ("85", 4), "capistrano": ("86", 6)}
CHOSEN = STREAMS if ALL_OF_IT else [OURS]
ORDERS = {
    "dokku": "start_web start_workers flip retire end_workers stop_web",
    "capistrano": "start_web flip next_command end_workers start_workers stop_web",
}
ASK = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
sys.exit(b" 200 " not in connection.recv(99))
"""
SWITCH = """
set -e
app=$1 old=$2 new=$3 root=/srv/$1
start_web() {
    cp $root/releases/$new/app.service /etc/systemd/system/$app@$new.service
    systemctl start $app@$new
    until python3 -c "$ASK" $root/releases/$new/run/app.sock 2>/dev/null; do sleep 0.05; done
}
start_workers() {
    touch /run/flaskops/.$app@$new
    for worker in rq-1 rq-2 celery-1; do
        cp $root/releases/$new/worker-${worker%-*}.service /etc/systemd/system/$app.$worker@$new.service
        systemctl start $app.$worker@$new
    done
    sleep 2
}
flip() {
    ln -s releases/$new $root/next
    mv --no-target-directory $root/next $root/current
}
retire() { sleep 5; }  # Dokku waits for 60 s
next_command() { sleep 1; }  # of Capistrano comes by ssh
end_workers() { systemctl stop --no-block "$app.*@$old.service"; }
stop_web() { systemctl stop $app@$old; }
"""


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """A host with the queue that the page shows."""
    target.run("apt-get update -qq")
    for command in PAGE["A queue"][0].commands:
        target.run(f"DEBIAN_FRONTEND=noninteractive {command}")
    groups = yaml.safe_load(target.inventory.read_text())
    target.inventory.write_text(yaml.safe_dump({target.topology: groups[target.topology]}))  # deploy goes by the groups
    return target


def type_here(host: Target, directory: Path, command: str) -> str:
    """Type a command of the page on this machine, to which the host is that of the page; returns what it wrote."""
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_PRIVATE_KEY_FILE": str(ROOT / ".cache/ssh/id_ed25519"),
        "ANSIBLE_SSH_COMMON_ARGS": SSH_OPTIONS,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(host.control),
    }
    words = ["bash", "-c", command.replace("192.0.2.10", host.address)]
    done = subprocess.run(words, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_microblog_of_the_page_works_as_it_is(host: Target, tmp_path: Path) -> None:
    written = {block.file: block.text.replace("192.0.2.10", host.address) for block in PAGE[MICROBLOG] if block.file}
    write_source(tmp_path, written)
    (typed,) = (block for block in PAGE[MICROBLOG] if block.commands)
    *_rest, exported = [type_here(host, tmp_path, command) for command in typed.commands]
    assert (exported, host.get("/").json()) == ("Hello", ["ada: Hello"])
    host.run("systemctl start blog.forget")
    assert host.get("/ada/export").status == 404


@thorough
def test_the_other_examples_of_the_page_work_as_they_are(host: Target, tmp_path: Path) -> None:
    """Beside the app of the next test, which so needs no run of its own."""
    apps = [*stream(tmp_path / OURS, 0)]
    for name, (section, port) in SHOWN.items():
        files = {block.file: block.text for block in PAGE[section]}
        write_source(tmp_path, files)
        apps.append({**app(name, tmp_path / name, listen=port, requirements="auto"), **yaml.safe_load(files[f"{name}/app.yml"])})
    host.converge(apps)
    for number in (40, 2):
        host.get(f"/add/{number}", port=82, method="POST")
    for where, key, least in ((82, "total", 42), (82, "ticks", 3), (83, "count", 3)):
        assert eventually(lambda: host.get("/", port=where).json()[key] >= least), key  # noqa: B023
    assert host.get("/", port=82).json()["total"] == 42


def stream(source: Path, form: int, name: str = OURS) -> list[dict[str, Any]]:
    """The app whose messages have this form."""
    port, database = STREAMS[name]
    write_source(source, {file: text.format(form=form) for file, text in STREAM.items()})
    urls = {"RQ_REDIS_URL": f"{REDIS}/{database}", "BROKER_URL": f"{REDIS}/{database + 1}"}
    settings = {"listen": port, "requirements": "requirements.txt", "secrets": urls, "nginx_gunicorn_workers": 1}
    return [app(name, source, workers=WORKERS, **settings)]


def redis_cli(name: str) -> str:
    """What asks for the lists of a stream."""
    return f"redis-cli --no-auth-warning -a s3cret -n {STREAMS[name][1]}"


def listed(host: Target, name: str, key: str) -> list[str]:
    """A list of a stream."""
    return host.run(f"{redis_cli(name)} lrange {key} 0 -1").split()


def deploy(host: Target, apps: list[dict[str, Any]], **variables: Any) -> None:
    """Release the stream's app."""
    host.converge(apps, playbook="deploy", variables={"flask_app_name": apps[0]["flask_app_name"], **variables})


def switch_by(host: Target, name: str, apps: list[dict[str, Any]]) -> None:
    """Stage the app's release as ever, and switch to it in the order of another tool, which waits for no worker here either."""
    before = set(host.releases(name))
    deploy(host, apps, deploy_only_stages=True, deploy_serial=1)  # else its play that only stages has no hosts
    (new,) = set(host.releases(name)) - before
    steps = "\n".join(ORDERS[name].split())
    host.run(f"ASK={shlex.quote(ASK)}\nset -- {name} {host.live(name)} {new}\n{SWITCH}{steps}")


@pytest.mark.parametrize("name", CHOSEN)
def test_no_message_is_lost_or_misread_by_a_release(host: Target, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    """Five releases and a rollback under a stream of messages whose form each release changes, while jobs of 20 s are under way.

    With SUITE=all also in the orders of others, which are only measured.
    """
    port = int(STREAMS[name][0])
    if not host.live(name):
        host.converge(stream(tmp_path, 0, name))
    sent: list[int] = []
    over, lock = threading.Event(), threading.Lock()

    def send(seconds: float = 0) -> None:
        with lock:
            number = len(sent)
            answer = host.get(f"/{number}/{seconds}", port=port)
            assert answer.status == 200, answer
            sent.append(number)

    def keep_sending() -> None:
        while not over.wait(0.7):
            send()

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        for form in range(1, RELEASES + 1):
            send(20)
            apps = stream(tmp_path, form, name)
            if name != OURS:
                switch_by(host, name, apps)
                continue
            deploy(host, apps)
            assert host.get("/", port=port).text == str(form)
            if form == 3:
                with (tmp_path / "main.py").open("a") as code:
                    code.write("# a release that is gone back from, and has changed no message\n")
                before = host.live(name)
                deploy(host, apps)
                host.converge(None, playbook="rollback", variables={"flask_app_name": name})
                assert host.live(name) == before
        time.sleep(2)
    finally:
        over.set()
        sender.join()
    # Each number once, because RQ does again what was misread.
    ended = "{ %s lrange done-$1 0 -1; %s lrange misread-$1 0 -1; } | sort -u | grep -c ." % ((redis_cli(name),) * 2)
    waiting = f"ended() {{ {ended}; }}; until [ $(ended rq) -ge {len(sent)} ] && [ $(ended celery) -ge {len(sent)} ]; do sleep 0.3; done"
    # What a worker of RQ left aside is back in the queue after a minute; on a busy machine, RQ may look for it another time.
    host.run(f"timeout 180 sh -c {shlex.quote(waiting)} || true")
    found = {kind: outcome(host, name, kind, sent) for kind in KINDS}
    with capfd.disabled():
        print(f"\nmessages, {name}: {json.dumps(found)}", file=sys.stderr, flush=True)
    if name == OURS:
        assert [(one["failed"], one["lost"], one["twice"]) for one in found.values()] == [(0, 0, 0)] * 2
        assert host.run(f"{redis_cli(name)} zcard rq:failed:default; {redis_cli(name)} llen rq:queue:default").split() == ["0", "0"]
    host.run(f"systemctl stop '{name}.*' '{name}@*'")


def outcome(host: Target, name: str, kind: str, sent: list[int]) -> dict[str, float]:
    """What became of a stream's messages of a kind; `again` is what RQ took up again, the longest wait is in seconds."""
    done, misread = (Counter(map(int, listed(host, name, f"{what}-{kind}"))) for what in ("done", "misread"))
    lost = [number for number in sent if not done[number] + misread[number]]
    twice = [number for number, times in done.items() if times > 1]
    waits = map(float, listed(host, name, f"waits-{kind}"))
    again = len(listed(host, name, f"again-{kind}"))
    longest = round(max(waits), 1)
    return {"sent": len(sent), "failed": len(misread), "lost": len(lost), "twice": len(twice), "again": again, "longest wait": longest}
