"""Removing and restoring are safe, whatever a name was meant to be and whatever an app does meanwhile; and what hosts say is only shown."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.documents import sections_of
from ansible_collections.flaskops.hosting.tests.targets.harness import (
    ROOT,
    SSH_OPTIONS,
    Play,
    Target,
    app,
    differences,
    missing,
    write_source,
)

ADDRESS = "198.18.2.121"
VARIANT = "debian13"
PAGE = sections_of(ROOT / "docs/day-two.md")
FILES = 3000  # in a restored directory, so that the exchange meets some
MARK = Path("/tmp/flaskops-run-on-the-controller")
PAYLOAD = f"{{{{ lookup('pipe', 'touch {MARK}') }}}}: ["
LOGIN = "me:hush-hush"
# An app that somebody has broken into: it exchanges a directory of its own for a link all the time, and what it says would control a terminal.
HOSTILE = f"""
import ctypes, os, sys, threading

PAYLOAD = {PAYLOAD!r}
print(PAYLOAD + chr(27) + "]0;owned" + chr(7), file=sys.stderr, flush=True)
"""
HOSTILE += """

SHARED = b"/srv/shop/shared/"
LIBC = ctypes.CDLL(None, use_errno=True)


def exchange():
    while True:
        LIBC.renameat2(-100, SHARED + b"uploads", -100, SHARED + b"trap", 2)  # RENAME_EXCHANGE


def app(environ, start_response):
    if environ["PATH_INFO"] == "/attack":
        os.symlink("/etc/profile.d", SHARED + b"trap")
        threading.Thread(target=exchange, daemon=True).start()
    start_response("200 " + PAYLOAD, [])
    return [os.environb[b"DATABASE_NAME"]]
"""
DATABASE = {"mysql_webapp_database": "shop", "mysql_webapp_accounts": [{"name": "shop", "privileges": ["ALL"]}]}
ENVIRONMENT = ["/etc/flaskops/databases/shop/shop.env"]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A hostile app, and another one that uses the same database."""
    source = write_source(tmp_path_factory.mktemp("hostile"), {"main.py": HOSTILE, "uploads/.keep": ""})
    return [app("shop", source, shared=["uploads"], environment_files=ENVIRONMENT), app("blog", listen="81", environment_files=ENVIRONMENT)]


@pytest.fixture(scope="module")
def host(target: Target, apps: list[dict[str, Any]]) -> Target:
    """A target that serves both."""
    target.converge(apps, variables=DATABASE)
    return target


@pytest.fixture(scope="module")
def backup(host: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory on this machine with a backup, made as documented."""
    host.run(f"cd /srv/shop/shared/uploads && for n in $(seq {FILES}); do echo id >shop-$n.sh; done && chown shop: shop-*.sh")
    host.run("mariadb shop -e 'CREATE TABLE orders (number INT); INSERT INTO orders VALUES (1)'")
    work = tmp_path_factory.mktemp("backup")
    assert type_on_host(host, "Back up", work) == [0, 0]
    return work


def type_on_host(host: Target, section: str, work: Path, word: str = "") -> list[int]:
    """Type the commands of a section of docs/day-two.md that go to a host, or only those with a word; returns their exit codes."""
    login = f"ssh {SSH_OPTIONS} -i {ROOT}/.cache/ssh/id_ed25519 ubuntu@{host.address}"
    commands = [one for block in PAGE[section] for one in block.commands if one.startswith("ssh ") and word in one]
    there = [command.replace("ssh ubuntu@192.0.2.10", login) for command in commands]
    return [subprocess.run(["bash", "-c", one], cwd=work, capture_output=True, timeout=120, check=False).returncode for one in there]


def remove(host: Target, apps: list[dict[str, Any]], *arguments: str, **variables: str) -> Play:
    """Run the playbook that removes an app, with these variables of it."""
    return host.play(apps, *arguments, playbook="remove", variables={**DATABASE, **variables})


def test_a_restore_writes_nothing_outside_of_the_app(host: Target, backup: Path) -> None:
    """Not even if the app runs meanwhile, and exchanges a directory that is restored for a link."""
    assert host.get("/attack").status == 200
    before = host.snapshot("/etc")
    type_on_host(host, "Restore", backup, " tar ")
    assert list(differences(before, host.snapshot("/etc"))) == []


def test_the_documented_restore_stops_the_app(host: Target, apps: list[dict[str, Any]], backup: Path) -> None:
    """It brings files and rows back, and the app serves again after the playbook that the page names."""
    host.run("rm -r /srv/shop/shared/uploads /srv/shop/shared/trap; mariadb shop -e 'INSERT INTO orders VALUES (2)'")
    assert type_on_host(host, "Restore", backup) == [0, 0, 0]
    assert host.run("systemctl list-units --no-legend --state=active 'shop@*'") == ""
    assert host.run("stat -c %U:%G /srv/shop/shared/uploads/* | sort | uniq -c").split() == [str(FILES), "shop:shop"]
    assert host.run("mariadb shop --batch --skip-column-names -e 'SELECT * FROM orders'") == "1"
    host.converge(apps, variables=DATABASE)
    assert host.get("/").text == "shop"


def test_what_an_app_says_is_only_shown(host: Target) -> None:
    """The status has its log, and the words of its status line, which are neither a template nor YAML nor for the terminal."""
    MARK.unlink(missing_ok=True)
    play = host.converge(None, playbook="status", variables={"flask_app_name": "shop"})
    assert missing(play.output, ["health 200 {{ lookup(", "\\x1b]0;owned\\x07"]) == [], play.output
    assert "\x1b" not in play.output
    assert not MARK.exists()


def test_no_credentials_are_shown(host: Target, tmp_path: Path, apps: list[dict[str, Any]]) -> None:
    """Neither those of a source's URL nor those of an index, on the terminal and in the host's log."""
    source = write_source(tmp_path / "shop", {"main.py": HOSTILE, "requirements.txt": f"--extra-index-url http://{LOGIN}@127.0.0.1:9/simple\n"})
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "--message=one"], ["update-server-info"]):
        subprocess.run(["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *words], cwd=source, check=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=source)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{LOGIN}@127.0.0.1:{server.server_port}/.git"
        changed = {
            **apps[0],
            "flask_app_source": url,
            "flask_app_version": "main",
            "flask_app_shared": [],
            "flask_app_requirements": "requirements.txt",
        }
        play = host.converge([changed], "--check", "--diff", "-vvv")
        server.shutdown()
    assert "requirement: --extra-index-url http://…@127.0.0.1:9/simple" in play.output
    assert f"@127.0.0.1:{server.server_port}/.git" in play.output
    assert "hush-hush" not in play.output
    assert "hush-hush" not in host.run("journalctl --no-pager --output=export")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"flask_app_name": "shpo", "remove_database": "shop"},
            "flask_app_name: got 'shpo', needs an app of the inventory or of these hosts: blog, shop",
        ),
        ({"flask_app_name": "shop", "remove_database": "shop"}, "remove_database: got 'shop', which blog uses on"),
    ],
)
def test_what_is_misspelt_or_in_use_is_not_removed(host: Target, apps: list[dict[str, Any]], variables: dict[str, str], problem: str) -> None:
    before = host.snapshot()
    play = remove(host, apps, **variables)
    assert play.returncode == 2 and problem in " ".join(play.output.split()), play.output
    assert differences(before, host.snapshot()) == {}
    assert host.get("/", 81).status == 200


def test_a_database_goes_with_the_last_app_that_uses_it(host: Target, apps: list[dict[str, Any]]) -> None:
    """The run says before what it will remove, and so does a dry run."""
    assert remove(host, apps, flask_app_name="shop", remove_data="true").returncode == 0
    before = host.snapshot()
    last = {"flask_app_name": "blog", "remove_database": "shop"}
    dry = remove(host, apps, "--check", **last)
    assert dry.returncode == 0 and differences(before, host.snapshot()) == {}, dry.output
    real = remove(host, apps, **last)
    assert real.returncode == 0, real.output
    for play in (dry, real):
        shown = play.shown_by("Show what goes")
        assert (
            missing(shown, ["the app blog in /srv/blog, release ", "its data in /srv/blog/shared stays", "the database shop with its accounts"]) == []
        )
    assert real.changed == dry.changed
    assert host.run("find /srv /etc/flaskops/apps /etc/flaskops/databases -mindepth 1; getent passwd shop blog || true", check=False) == ""
