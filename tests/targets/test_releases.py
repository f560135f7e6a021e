"""Releases: from every kind of source, byte for byte, named by content; repaired, pruned, started again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, eventually, write_source

ADDRESS = "198.18.2.80"
PROBE = (APPS / "probe/main.py").read_text()
NAMES: dict[str, str | bytes] = {
    "ペン/りんご.txt": "日本語\n",
    "данные/файл.txt": "привет",
    "🐙.bin": b"\x00\xff\n\r\n",
    "with space & 'quote'.txt": "",
    "-dash": "x",
    os.fsdecode(b"caf\xe9.txt"): "x",
}
# Waits for the unit of the pre-flight, and kills the module that waits for its end.
KILL = """
import glob, os, signal, time
while True:
    time.sleep(0.05)
    for path in glob.glob("/proc/[0-9]*"):
        try:
            words = open(f"{path}/cmdline", "rb").read().split(b"\\0")
            parent = int(open(f"{path}/stat").read().rpartition(")")[2].split()[1])
            if b"--unit=flaskops-shop-preflight" in words:
                os.kill(parent, signal.SIGKILL)
                os.kill(int(path[6:]), signal.SIGKILL)
                raise SystemExit
        except OSError:
            continue
"""


def probe(version: str) -> str:
    """The probe app's code, telling another version."""
    return PROBE.replace('VERSION = "one"', f'VERSION = "{version}"')


def shop(source: Path | str, **settings: Any) -> list[dict[str, Any]]:
    """The one app of this module."""
    return [app("shop", source, **settings)]


def build(release: str) -> str:
    """The part of a release's name that names its code."""
    return release.partition("-")[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of version two, with awkward names, an executable, links, a pipe, and more than a mebibyte that does not compress."""
    directory = write_source(tmp_path_factory.mktemp("sources") / "shop", {**NAMES, "main.py": probe("two"), "large.bin": os.urandom(1_300_000)})
    write_source(directory, {"tool.sh": "#!/bin/sh\n", "__pycache__/main.pyc": "stale", ".git/config": "", "venv/pyvenv.cfg": "", "venv/lib.py": ""})
    (directory / "tool.sh").chmod(0o755)
    (directory / "link.txt").symlink_to("ペン/りんご.txt")
    (directory / "absolute.txt").symlink_to(directory / "link.txt")
    os.mkfifo(directory / "pipe")
    return directory


@pytest.fixture(scope="module")
def host(target: Target, source: Path) -> Target:
    """A target on which version two is live."""
    target.converge(shop(source))
    return target


def listing(directory: Path) -> dict[str, str]:
    """What of a source must arrive: each file's hash, each link's target."""
    found = {}
    for path in sorted(directory.rglob("*")):
        inside = str(path.relative_to(directory))
        if inside.startswith(("__pycache__", ".git", "venv")) or path.is_dir() or path.is_fifo():
            continue
        to = "ペン/りんご.txt"  # of both links, for the source is elsewhere on the host
        found[shown(inside)] = to if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def shown(name: str) -> str:
    """A name as a target's output shows it, if some of its bytes are no text."""
    return os.fsencode(name).decode(errors="replace")


def listing_on(host: Target) -> dict[str, str]:
    """The same of the live release's code, read by the target's own tools."""
    code = "cd /srv/shop/current/code/ && find . -name __pycache__ -prune -o"
    hashes = host.run(f"{code} -type f -print0 | xargs -0 sha256sum --zero").split("\0")
    links = host.run(f"{code} -type l -printf '%l  %p\\n'").splitlines()
    return {name.removeprefix("./"): mark for mark, name in (line.split("  ", 1) for line in [*hashes, *links] if line)}


def git(directory: Path, *words: str) -> str:
    """Run git as nobody in particular."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, "-C", directory, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_directory_arrives_byte_for_byte(host: Target, source: Path) -> None:
    """Large, with names in any script; caches, venvs and .git stay behind."""
    assert host.get("/").json()["version"] == "two"
    assert listing_on(host) == listing(source)
    assert host.run("stat -c %a /srv/shop/current/code/tool.sh /srv/shop/current/code/main.py").split() == ["750", "640"]


def test_stopped_services_are_started_again(host: Target, source: Path) -> None:
    """What somebody has stopped or disabled serves again after a run, and now and after a boot."""
    units = f"nginx.service shop@{host.live('shop')}.service"
    host.run(f"systemctl disable --now --quiet {units}")
    assert host.converge(shop(source)).recap["changed"] == 2
    assert host.get("/").status == 200
    assert host.run(f"systemctl is-enabled {units}").split() == ["enabled", "enabled"]


def test_changed_environment_is_a_release_of_the_same_build(host: Target, source: Path) -> None:
    """It goes live, and back, in the same way as code."""
    before = host.live("shop")
    play = host.converge(shop(source, environment={"GREETING": "hello", "NUMBER": 7}), "--diff")
    assert "pipe is a pipe, and is not shipped" in " ".join(play.output.split())
    after = host.live("shop")
    assert after != before and build(after) == build(before)
    inodes = [host.run(f"stat -c %i /srv/shop/releases/{release}/code/large.bin") for release in (before, after)]
    assert inodes[0] == inodes[1], "a file that did not change takes its space twice"
    environment = host.get("/environment").json()
    assert bytes.fromhex(environment["GREETING"]) == b"hello" and bytes.fromhex(environment["NUMBER"]) == b"7"
    host.converge(shop(source))
    assert host.live("shop") == before
    assert "GREETING" not in host.get("/environment").json()


def test_reboot(host: Target) -> None:
    """After a boot the app answers with no help; a run, which the next test does, has nothing to do."""
    live = host.live("shop")
    host.reboot()
    assert eventually(lambda: host.get("/").status == 200)
    assert host.live("shop") == live


@pytest.mark.parametrize(("kind", "suffix"), [("gztar", ".tar.gz"), ("zip", ".zip")])
def test_archive_gives_the_same_build(host: Target, source: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    """The same code in an archive is the same release: nothing is to do; with the project's folder at its top or without."""
    clean = shutil.copytree(source, tmp_path / "clean/shop", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".git", "venv", "pipe"))
    (clean / "absolute.txt").unlink()
    (clean / "absolute.txt").symlink_to("ペン/りんご.txt")
    if kind == "zip":  # which has, from Python, neither links nor executable bits nor names that are no text
        for name in ("link.txt", "absolute.txt", "tool.sh", os.fsdecode(b"caf\xe9.txt")):
            (clean / name).unlink()
    archive = shutil.make_archive(str(tmp_path / "shop"), kind, tmp_path / "clean")
    assert archive.endswith(suffix)
    assert (host.converge(shop(archive)).recap["changed"] == 0) == (kind == "gztar")
    assert listing_on(host) == listing(clean)


@thorough
def test_git_commit_and_head(host: Target, tmp_path: Path) -> None:
    """A bare repository by its URL; the same code as from a directory has the same build name."""
    work, bare = tmp_path / "work", tmp_path / "shop.git"
    write_source(work, {"main.py": probe("first"), **NAMES})
    git(tmp_path, "init", "--quiet", str(work))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=first")
    first = git(work, "rev-parse", "HEAD")
    write_source(work, {"main.py": probe("second")})
    git(work, "commit", "--quiet", "--all", "--message=second")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(bare))
    url = f"file://{bare}"
    host.converge(shop(url, version=first))
    assert host.get("/").json()["version"] == "first"
    assert listing_on(host).keys() == {"main.py", *map(shown, NAMES)}
    host.converge(shop(url))
    assert host.get("/").json()["version"] == "second"
    second = host.live("shop")
    assert host.converge(shop(work)).recap["changed"] == 0, "the same code from a directory is another build"
    play = host.play(shop(url, version="no-such-branch"))
    assert play.returncode == 2 and "flask_app_source: cannot fetch 'no-such-branch' of" in play.output
    assert host.live("shop") == second
    write_source(work, {"main.py": probe("third"), ".gitignore": "*.log\n", "debug.log": "x", "docs/a.md": "x"})
    host.converge(shop(work, exclude=["docs", "-*"]))
    assert host.get("/").json()["version"] == "third"
    assert listing_on(host).keys() == {"main.py", ".gitignore", *map(shown, NAMES)} - {"-dash"}
    assert json.loads(host.run("cat /srv/shop/current/release.json"))["version"] == git(work, "rev-parse", "HEAD") + "-dirty"


def test_changed_requirements_are_a_new_venv(host: Target, tmp_path: Path) -> None:
    """The old one stays with its release. uv, which builds it, is kept for all apps, and root's alone."""
    before = host.run("readlink -f /srv/shop/current/.venv")
    assert host.run("find /var/cache/flaskops ! -type l '(' ! -user root -o -perm /022 ')'") == ""
    files = {"main.py": probe("one"), "requirements.txt": "itsdangerous==2.2.0\n"}
    host.converge(shop(write_source(tmp_path, files), requirements="requirements.txt"))
    after = host.run("readlink -f /srv/shop/current/.venv")
    assert after != before and host.succeeds(f"test -d {before}")
    assert host.succeeds(f"{after}/bin/python -c 'import itsdangerous'")
    assert host.run(f"find {after}/lib/python3*/site-packages/itsdangerous -name '*.pyc'"), "the app cannot write byte code"
    assert host.run(f"find {after} ! -type l '(' ! -user root -o -perm /022 -o -links +1 -type f ')'") == ""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources of versions five and six, which differ in one file."""
    made = tmp_path_factory.mktemp("versions")
    return {name: write_source(made / name, {"main.py": probe(name), "data.txt": "whole"}) for name in ("five", "six")}


def test_code_only_release_builds_no_venv(host: Target, sources: dict[str, Path]) -> None:
    """The venv of the release before is used as it is."""
    host.converge(shop(sources["five"], keep_releases=2))
    before, venv = host.live("shop"), host.run("readlink -f /srv/shop/current/.venv")
    stamp = f"stat -c '%i %Y %Z' {venv} {venv}/bin/gunicorn"
    built = host.run(stamp)
    host.converge(shop(sources["six"], keep_releases=2))
    assert build(host.live("shop")) != build(before)
    assert host.run("readlink -f /srv/shop/current/.venv") == venv
    assert host.run(stamp) == built


def test_old_releases_are_pruned(host: Target) -> None:
    """The given number of them stays, the live one among them, and no venv that none of them needs; only the live one has a unit."""
    assert len(host.releases("shop")) == 2 and host.live("shop") in host.releases("shop")
    assert host.run("stat -c %h /srv/shop/releases/*/code/data.txt").split() == ["2", "2"], "the file that did not change is one file"
    assert set(host.run("stat -c %h /srv/shop/releases/*/code/main.py").split()) == {"1"}
    assert host.get("/").json()["version"] == "six"
    assert host.run("ls /etc/systemd/system | grep ^shop@") == f"shop@{host.live('shop')}.service"
    used = host.run("readlink /srv/shop/releases/*/.venv | xargs -n1 basename | sort -u").split()
    assert host.run("ls /srv/shop/venvs").split() == used
    assert host.run("ls /etc/systemd/system/multi-user.target.wants | grep ^shop@") == f"shop@{host.live('shop')}.service"


def test_half_staged_release_is_repaired(host: Target, sources: dict[str, Path]) -> None:
    """Without its completion mark a release, here five beside the live six, does not exist: the next run makes it anew, venv and all."""
    (five,) = set(host.releases("shop")) - {host.live("shop")}
    release, venv = f"/srv/shop/releases/{five}", host.run("readlink -f /srv/shop/current/.venv")
    host.run(f"rm -r {release}/release.json {release}/code/*; echo half >{release}/code/data.txt")
    host.run(f"rm -f {venv}/complete; rm -rf {venv}/bin/gunicorn")
    host.converge(shop(sources["five"]))
    assert host.live("shop") == five and host.get("/").json()["version"] == "five"
    assert host.run("cat /srv/shop/releases/*/code/data.txt") == "wholewhole"


@thorough
def test_killed_run_is_made_good(host: Target, tmp_path: Path) -> None:
    """A run that is killed while it stages does not affect the live release, and leaves no lock that stops the next run."""
    live = host.live("shop")
    source = write_source(tmp_path, {"main.py": f"{probe('eight')}\nimport time\ntime.sleep(30)\n"})
    host.run("cat >/root/kill.py && systemd-run --quiet --unit=kill python3 /root/kill.py", stdin=KILL)
    play = host.play(shop(source))
    assert play.returncode == 2 and "Killed" in play.output, play.output
    assert host.live("shop") == live
    assert host.get("/").status == 200
    write_source(tmp_path, {"main.py": probe("eight")})
    host.converge(shop(source))
    assert host.get("/").json()["version"] == "eight"
