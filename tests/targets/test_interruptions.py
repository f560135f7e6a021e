"""A deploy that is cut off anywhere: the live release keeps serving, and the next run converges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import ALL_OF_IT, thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, app, eventually, missing, write_source

ADDRESS = "198.18.2.241"
CODE = """
import os, time

VERSION = {version!r}


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(6)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""
TASKS = {
    "survey": "Check the variables, look at the host, and plan the run",
    "stage": "Stage the release, and let it prove itself",
    "configure": "Configure the front and the app's own port",
    "activate": "Make the release live, and ask for it through the front",
}
# When the controller is killed: seconds after a task has begun, in a run and in the one after it. That one comes further, whatever was left.
POINTS = [
    (("survey", 0.0), ("configure", 0.0)),
    (("stage", 1.5), ("activate", 0.4)),
    (("stage", 0.4), ("activate", 0.0)),
    (("configure", 0.4), ("activate", 0.8)),
][0 if ALL_OF_IT else 2 :]
SMALL = "/srv/small"  # a file system of its own, which can be filled


def shop(source: Path, **settings: Any) -> list[dict[str, Any]]:
    """The app, reached at a port of its own, so that there is one more thing to cut off."""
    return [app("shop", source, **{"nginx_gunicorn_listen": "127.0.0.1:8080", "requirements": "requirements.txt", **settings})]


def release(directory: Path, version: str, requirements: str = "") -> Path:
    """The source of a version; another requirement makes another venv."""
    return write_source(directory, {"main.py": CODE.format(version=version), "requirements.txt": requirements})


@pytest.fixture(scope="module")
def host(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A target on which version 0 is live."""
    target.converge(shop(release(tmp_path_factory.mktemp("zero"), "0")))
    return target


def served(host: Target, port: int = 80) -> str:
    """The version that visitors get."""
    answer = host.get("/", port=port)
    assert answer.status == 200, answer
    return answer.text


@contextmanager
def served_throughout(host: Target, versions: set[str], port: int = 80) -> Iterator[None]:
    """Ask all the time, and insist that every answer is one of these versions."""
    wrong: list[str] = []
    answered, over = [0], threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            answer = host.get("/", port=port)
            answered[0] += 1
            if answer.status != 200 or answer.text not in versions:
                wrong.append(f"{answer.status} {answer.text[:80]}")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        over.set()
        asker.join()
    assert wrong == [] and answered[0] > 5


def kill_at(process: subprocess.Popen[str], task: str, delay: float) -> bool:
    """Kill a play, with all its processes, some time after a task has begun; returns whether it came that far."""
    assert process.stdout
    began = any(f"{task}]" in line for line in process.stdout)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)  # the session that was started with it
    process.communicate()
    return began


@pytest.mark.parametrize("points", POINTS, ids=lambda points: "-".join(f"{phase}-{delay}" for phase, delay in points))
def test_controller_is_killed(host: Target, tmp_path: Path, points: tuple[tuple[str, float], tuple[str, float]]) -> None:
    """Its host goes on by itself to the end of a task, or does not; the next run waits for that, comes further, and the last one converges."""
    before, version = served(host), str(points)
    requirements = {"stage": f"idna==3.{POINTS.index(points)}\n"}.get(points[0][0], "")
    apps = shop(release(tmp_path, version, requirements))
    with served_throughout(host, {before, version}):
        for phase, delay in points:
            came_so_far = kill_at(host.start(apps), TASKS[phase], delay)
            assert came_so_far or served(host) == version, f"{phase}: the host had not made it live by itself"
        host.converge(apps)
    assert served(host) == version
    assert points != POINTS[-1] or host.converge(apps).recap["changed"] == 0


def root_of(host: Target) -> Path:
    """The directory in which this machine sees the target's files as they are written."""
    found = subprocess.run(
        [ROOT / "dev/docker", "inspect", "--format={{json .GraphDriver.Data}}", f"flaskops-{host.name}"], capture_output=True, text=True, check=True
    )
    return Path(json.loads(found.stdout)["MergedDir"])


def live_on_disk(root: Path) -> str:
    """The release that the target's `current` names."""
    return (root / "srv/shop/current").readlink().name


# What is seen on the target's disk when its power is cut: half a release with half a venv, the new instance's unit, the flip.
CUTS: dict[str, Callable[[Path, str, set[str]], bool]] = {
    "building the venv": lambda root, _live, known: any(
        path.name not in known and (path / "lib").is_dir() for path in (root / "srv/shop/venvs").iterdir()
    ),
    "starting the new instance": lambda root, live, _known: any(
        live not in path.name for path in (root / "etc/systemd/system").glob("shop@*.service")
    ),
    "after the flip": lambda root, live, _known: live_on_disk(root) != live,
}


def test_power_is_cut(host: Target, tmp_path: Path) -> None:
    """The target boots into the release before, or into the new one if `current` named it already. Each run comes further, the last one converges."""
    before, live = served(host), host.live("shop")
    known = {path.name for path in (root_of(host) / "srv/shop/venvs").iterdir()}
    apps = shop(release(tmp_path, "powerful", "idna==3.3\n"))
    for moment, seen in CUTS.items():
        root = root_of(host)
        slow = threading.Thread(target=lambda: _ask_slowly(host))
        slow.start()  # an answer that is under way keeps the old instance for a while
        process = host.start(apps)
        assert eventually(partial(seen, root, live, known), 60), moment
        flipped = live_on_disk(root) != live
        subprocess.run([ROOT / "dev/docker", "kill", f"flaskops-{host.name}"], check=True, capture_output=True)
        process.communicate()
        slow.join()
        host.reboot()
        assert eventually(lambda: _answers(host)), moment
        assert served(host) == ("powerful" if flipped else before), moment
        assert flipped == (moment == "after the flip")
    host.converge(apps)
    assert served(host) == "powerful"


def _ask_slowly(host: Target) -> None:
    with suppress(OSError):  # its host loses its power
        host.get("/slow")


def _answers(host: Target) -> bool:
    try:
        return host.get("/").status == 200
    except OSError:
        return False


@thorough
def test_disk_is_full(host: Target, tmp_path: Path) -> None:
    """While the code is laid down, and while a venv is built: the reason is shown, nothing unfinished is left, and with room it goes on."""
    # nginx, which has mounts of its own, sees a new one at once on a real host; in a container only after its start
    host.run(f"mkdir -p {SMALL} && mount -t tmpfs -o size=96m none {SMALL} && systemctl restart nginx")
    settings = {"root": f"{SMALL}/tight", "user": "tight", "nginx_gunicorn_listen": "unix:run/app.sock", "flask_app_listen": "81"}

    def tight(version: str, requirements: str = "", **files: bytes) -> list[dict[str, Any]]:
        source = write_source(release(tmp_path / version, version, requirements), dict(files))
        return [{**shop(source, **settings)[0], "flask_app_name": "tight"}]

    host.converge(tight("one"))
    with served_throughout(host, {"one"}, port=81):
        host.run(f"dd if=/dev/zero of={SMALL}/filler bs=1M status=none || true; truncate --size=-2M {SMALL}/filler")
        for fault, reason in (
            (tight("two", large=os.urandom(4_000_000)), "No space left on device"),
            (tight("three", "babel==2.17.0\n"), f"MiB are free at {SMALL}/tight/venvs"),
        ):
            play = host.play(fault)
            assert play.returncode == 2 and missing(play.output, [reason, "keeps serving."]) == [], play.output
    host.run(f"rm {SMALL}/filler")
    host.converge(tight("two", large=b"small"))
    assert served(host, 81) == "two"


@thorough
def test_venv_cannot_be_written(host: Target, tmp_path: Path) -> None:
    """It is reported, and the live release keeps serving; with the directory writable again the next run converges."""
    before = served(host)
    apps = shop(release(tmp_path, "unwritable", "idna==3.6\n"))
    host.run("mount --bind /srv/shop/venvs /srv/shop/venvs && mount -o remount,bind,ro /srv/shop/venvs")
    try:
        with served_throughout(host, {before}):
            play = host.play(apps)
        assert play.returncode == 2 and missing(play.output, ["Read-only file system", "/srv/shop/venvs/", "keeps serving."]) == [], play.output
    finally:
        host.run("umount /srv/shop/venvs")
    host.converge(apps)
    assert served(host) == "unwritable"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources of two versions, by their names; one takes 4 s to start."""
    made = {name: release(tmp_path_factory.mktemp(name), name) for name in ("sleepy", "brisk")}
    write_source(made["sleepy"], {"main.py": "import time\ntime.sleep(4)\n" + CODE.format(version="sleepy")})
    return made


def test_two_deploys_at_once(host: Target, sources: dict[str, Path]) -> None:
    """The second waits for the first; both end well, and the last one is live."""
    before = served(host)
    with served_throughout(host, {before, "sleepy", "brisk"}):
        first = host.start(shop(sources["sleepy"]))
        assert first.stdout and any(f"{TASKS['stage']}]" in line for line in first.stdout)
        second = host.play(shop(sources["brisk"]))
        output, _none = first.communicate()
    assert (first.returncode, second.returncode) == (0, 0), output + second.output
    assert served(host) in sources


def test_failed_release_runs_after_a_boot(host: Target, sources: dict[str, Path]) -> None:
    """The power went after it failed and before it was stopped: staged again, it is not taken from under its processes."""
    (version,) = sources.keys() - {served(host)}
    failed = next(name for name in host.releases("shop") if host.succeeds(f"grep \"'{version}'\" /srv/shop/releases/{name}/code/main.py"))
    host.run(f"echo '{{}}' >/srv/shop/releases/{failed}/failed.json")
    host.run(f"cd /srv/shop/releases/{failed} && cp app.service /etc/systemd/system/shop@{failed}.service && systemctl start shop@{failed}")
    with served_throughout(host, {*sources}):
        host.converge(shop(sources[version]))
    assert served(host) == version
