"""Workers with real queues: the examples of the documentation, and no message is lost or misread by a release."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.documents import sections_of
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, app, eventually, write_source

ADDRESS = "198.18.2.186"
PAGE = sections_of(ROOT / "docs/workers-and-jobs.md")
REDIS = "redis://:s3cret@127.0.0.1:6379"
SHOWN = {"rq": ("RQ", "81"), "celery": ("Celery with beat", "82"), "loop": ("A plain loop", "83")}
# Each release sends messages of its own form, and takes those of releases before it: an older one would misread it, and fail.
STREAM = """
import json, os, time
from celery import Celery
from redis import Redis
from rq import Queue

FORM = {form}
redis = Redis.from_url(os.environ["RQ_REDIS_URL"])
tasks = Celery("main", broker=os.environ["BROKER_URL"])
tasks.conf.worker_prefetch_multiplier = 1


def do(kind, form, number, sent, seconds):
    if form > FORM:
        redis.rpush("misread", number)
        raise ValueError(f"form {{form}} is unknown to {{FORM}}")
    redis.rpush("waits", time.time() - sent)
    time.sleep(seconds)
    redis.rpush(f"done-{{kind}}", number)


@tasks.task(name="do")
def do_task(*given):
    do("celery", *given)


def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/":
        return [str(FORM).encode()]
    number, seconds = environ["PATH_INFO"].split("/")[1:]
    Queue(connection=redis).enqueue(do, "rq", FORM, int(number), time.time(), float(seconds), job_timeout=600)
    do_task.delay(FORM, int(number), time.time(), float(seconds))
    return [b"sent"]
"""
RELEASES = 5


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """A host with the queue that the page shows."""
    target.run("apt-get update -qq")
    for command in PAGE["A queue"][0].commands:
        target.run(f"DEBIAN_FRONTEND=noninteractive {command}")
    return target


def test_the_examples_of_the_page_work_as_they_are(host: Target, tmp_path: Path) -> None:
    apps = []
    for name, (section, port) in SHOWN.items():
        files = {block.file: block.text for block in PAGE[section]}
        write_source(tmp_path, files)
        apps.append({**app(name, tmp_path / name, listen=port, requirements="auto"), **yaml.safe_load(files[f"{name}/app.yml"])})
    host.converge(apps)
    for name in ("ada", "grace"):
        host.get(f"/mail/{name}", port=81, method="POST")
    host.get("/add/40", port=82, method="POST")
    host.get("/add/2", port=82, method="POST")
    assert eventually(lambda: host.get("/", port=81).json() == {"sent": 2}, 15)
    assert eventually(lambda: host.get("/", port=82).json()["total"] == 42, 15)
    assert eventually(lambda: host.get("/", port=82).json()["ticks"] > 2, 15), "beat ticks each second"
    assert eventually(lambda: host.get("/", port=83).json()["count"] > 2, 15)
    host.run("systemctl start rq.forget")
    assert host.get("/", port=81).json() == {"sent": 0}
    host.converge([{**one, "flask_app_state": "absent"} for one in apps])


def stream(source: Path, form: int) -> list[dict[str, Any]]:
    """The app whose messages have this form."""
    write_source(source, {"main.py": STREAM.format(form=form), "requirements.txt": "rq==3.0.0\ncelery[redis]==5.7.0\n"})
    workers = {
        "rq": {"command": "rq worker", "count": 3, "settle": 2, "stop_timeout": 120},
        "celery": {"command": "celery -A main:tasks worker --concurrency 2", "settle": 2, "stop_timeout": 120},
    }
    urls = {"RQ_REDIS_URL": f"{REDIS}/2", "BROKER_URL": f"{REDIS}/3"}
    return [app("stream", source, requirements="requirements.txt", secrets=urls, workers=workers)]


def listed(host: Target, key: str) -> list[str]:
    """A list of the queue's server."""
    return host.run(f"redis-cli --no-auth-warning -a s3cret -n 2 lrange {key} 0 -1").split()


def test_no_message_is_lost_or_misread_by_a_release(host: Target, tmp_path: Path) -> None:
    """Five releases and a rollback under a stream of messages whose form each release changes, while jobs of 20 s are under way."""
    host.converge(stream(tmp_path, 0))
    sent: list[int] = []
    over, lock = threading.Event(), threading.Lock()

    def send(seconds: float = 0) -> None:
        with lock:
            number = len(sent)
            answer = host.get(f"/{number}/{seconds}")
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
            apps = stream(tmp_path, form)
            host.converge(apps)
            assert host.get("/").text == str(form)
            if form == 3:
                with (tmp_path / "main.py").open("a") as code:
                    code.write("# a release that is gone back from, and has changed no message\n")
                before = host.live("stream")
                host.converge(apps)
                host.converge(None, playbook="rollback", variables={"flask_app_name": "stream"})
                assert host.live("stream") == before
        send(20)
        time.sleep(1)
    finally:
        over.set()
        sender.join()
    done = {}
    for kind in ("rq", "celery"):
        eventually(lambda: len(listed(host, f"done-{kind}")) >= len(sent) - len(listed(host, "misread")), 90)  # noqa: B023
        done[kind] = sorted(map(int, listed(host, f"done-{kind}")))
    longest = max(map(float, listed(host, "waits")))
    failed = host.run(
        "redis-cli --no-auth-warning -a s3cret -n 2 zcard rq:failed:default; redis-cli --no-auth-warning -a s3cret -n 2 llen rq:queue:default"
    )
    print(
        json.dumps({"sent to each": len(sent), "longest wait": round(longest, 1), "misread": len(listed(host, "misread")), "failed, queued": failed})
    )
    assert listed(host, "misread") == []
    assert done == {"rq": sent, "celery": sent}, "some message was lost, or done twice"
