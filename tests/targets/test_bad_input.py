"""Bad input is rejected with the variable, what was given and what would be right; nothing is changed, the good app keeps serving."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, app, differences, missing, write_source

ADDRESS = "198.18.2.20"
GOOD = app("good", server_names=["good.example"])
TCP = app("tcp", nginx_gunicorn_listen="127.0.0.1:8080", listen="81")

# Wherever a run that is not rejected leaves something; also accounts, packages, lists of packages, databases and what systemd enables.
MANIFEST = ("/etc", "/opt", "/root", "/srv", "/usr/bin", "/usr/local", "/usr/share", "/var/cache", "/var/lib", "/var/log/nginx", "-maxdepth 4")

# What is wrong, as changes to a right app, and the words that its message must have. The unit tests have what is wrong without a host.
REJECTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no such source": (
        {"flask_app_source": "/nowhere/shop"},
        ["flask_app_source: got '/nowhere/shop'", "needs a directory, an archive or a git URL", "flask_app_source: /home/me/shop"],
    ),
    "no such module": ({"flask_app_module": "mian:app"}, ["flask_app_module: got 'mian:app'", "no module mian", "its modules: main"]),
    "what the host has for others or not at all": (
        {"nginx_gunicorn_listen": "127.0.0.1:9090", "flask_app_listen": ["22", "9090"], "flask_app_python": "/usr/bin/python3.99"},
        [
            *(f"{listen}: port 9090 is in use by" for listen in ("nginx_gunicorn_listen", "flask_app_listen")), "python3", "squatter.service",
            "flask_app_listen: port 22 is in use by", "sshd", "another port",
            "flask_app_python: got '/usr/bin/python3.99', but there is no such file",
        ],
    ),
    "what other apps have": (
        {"flask_app_server_names": ["good.example"], "nginx_gunicorn_listen": "127.0.0.1:8080", "flask_app_user": "good"},
        [
            "flask_app_mount: / on port 80 is the app good's", "another flask_app_mount", "flask_app_server_names",
            "nginx_gunicorn_listen: 127.0.0.1:8080 is the app tcp's", "another port",
            "flask_app_user: 'good' is the app good's", "flask_app_user: new",
        ],
    ),
    "an environment file that the host does not have": (
        {"flask_app_environment_files": ["/etc/nowhere/shop.env"]},
        ["flask_app_environment_files: got '/etc/nowhere/shop.env', and there is no such file on this host"],
    ),
    "several mistakes at once": (
        {
            "flask_app_name": "a/b", "nginx_gunicorn_workers": -1, "flask_app_mount": "shop/", "flask_app_moduel": "main:app",
            "nginx_gunicorn_worker": 2, "flask_app_secrets": {"PASSWORD": 71077345, "TOKEN": ["71077345"]},
        },
        [
            "flask_app_name: got 'a/b'", "letters, digits, - and _", "flask_app_name: shop", "nginx_gunicorn_workers: got -1",
            "flask_app_mount: got 'shop/'", "a leading slash", "flask_app_moduel: unknown variable", "did you mean flask_app_module?",
            "nginx_gunicorn_worker: unknown variable", "did you mean nginx_gunicorn_worker",
            "flask_app_secrets: PASSWORD is a int", "needs a string", "quotes", "flask_app_secrets: TOKEN is a list",
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """The target with two good apps, and a foreign service on port 9090."""
    target.converge([GOOD, TCP])
    target.run("systemd-run --quiet --unit=squatter python3 -m http.server 9090 --directory /usr/share")
    return target


@pytest.fixture
def untouched(host: Target) -> Iterator[Target]:
    """The target; whatever the test does, nothing on it may differ afterwards, and its apps serve."""
    before = host.snapshot(*MANIFEST)
    yield host
    assert differences(before, host.snapshot(*MANIFEST)) == {}
    assert_serves(host)


def assert_serves(host: Target) -> None:
    """Both good apps answer."""
    assert host.get("/", host="good.example").json() == {"version": "one", "mount": ""}
    assert host.get("/", port=81).json()["version"] == "one"


def assert_rejected(play: Play, words: list[str]) -> None:
    """The play failed and said all these words; no secret is among what it said."""
    assert (play.returncode, play.recap["failed"], play.recap["changed"]) == (2, 1, 0), play.output
    assert missing(play.output, words) == [], play.output
    assert "71077345" not in play.output


@pytest.mark.parametrize("mistake", REJECTED)
def test_rejected_before_anything_is_changed(untouched: Target, mistake: str) -> None:
    """A mistake in the variables of a new app."""
    settings, words = REJECTED[mistake]
    play = untouched.play([{**app("new", server_names=["new.example"]), **settings}])
    assert_rejected(play, [*words, "Nothing was changed."])
    assert "squatter.service" in untouched.run("systemctl list-units squatter.service")


OTHER = app("other", listen="82")
# What is wrong with the second of two apps, or with an app that has a database: the first, and the database, would be there already.
TOGETHER: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "the second app's variable": ([OTHER, app("new", listen="83", mount="new")], {}, ["new: flask_app_mount: got 'new'"]),
    "what both want": (
        [OTHER, app("new", listen="82", user="other")],
        {},
        ["new: flask_app_mount: / on port 82 is the app other's", "new: flask_app_user: 'other' is the app other's"],
    ),
    "an app with a database": ([app("new", mount="new")], {"mysql_webapp_database": "shop"}, ["flask_app_mount: got 'new'"]),
    "no list of apps": ({"shop": OTHER}, {}, ["flask_apps: got a dictionary, needs a list of apps, each a dictionary."]),
}


@pytest.mark.parametrize("mistake", TOGETHER)
def test_rejected_before_the_first_of_several_is_touched(untouched: Target, mistake: str) -> None:
    """An app that comes first, and a database, are not made for an app that is rejected."""
    apps, variables, words = TOGETHER[mistake]
    assert_rejected(untouched.play(apps, variables=variables), words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"version": "v9"}, ["flask_app_source: cannot fetch 'v9' of"]),
        ({"module": "mian:app", "requirements": ""}, ["flask_app_module: got 'mian:app'", "its modules: main"]),
        ({"requirements": "requirements.txt", "exclude": ["*.txt"]}, ["requirements.txt is not shipped"]),
    ],
)
def test_a_repository_is_looked_at_before_packages_and_the_account(
    untouched: Target, tmp_path: Path, settings: dict[str, Any], words: list[str]
) -> None:
    """What can only be told after it was fetched."""
    source = write_source(tmp_path / "shop", {"main.py": "app = None\n", "requirements.txt": ""})
    for command in ("init --quiet", "add .", "-c user.name=me -c user.email=me@example.com commit --quiet --message=first"):
        subprocess.run(["git", "-C", source, *command.split()], check=True)
    play = untouched.play([app("new", source / ".git", listen="82", system_packages=["cowsay"], **settings)])
    assert_rejected(play, [*words, "Nothing was changed."])


def test_rejected_with_plain_variables(untouched: Target) -> None:
    """A host's own variables are checked like those of a list of apps, and nothing is there when it is missing."""
    play = untouched.play(None, variables={"flask_app_name": "new", "nginx_gunicorn_wrkers": 2, "flask_app_secrets": "71077345"})
    wrong = ["nginx_gunicorn_wrkers: unknown variable", "did you mean nginx_gunicorn_workers?"]
    missed = ["flask_app_source: is not given", "flask_app_source: /home/me/shop"]
    assert_rejected(play, [*wrong, *missed, "flask_app_secrets: got a str", "a dictionary"])


def test_failed_release_leaves_the_live_one(host: Target, tmp_path: Path) -> None:
    """The old release keeps serving; the failed one is marked and kept; a second run fails the same way."""
    live, directory = host.live("good"), host.get("/who", host="good.example").json()["cwd"]
    nginx = host.snapshot("/etc/nginx", "/etc/systemd", "/etc/flaskops")
    code = "import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos._exit(3)\napp = None\n"
    words = ["importing main ended the process (code 3)", "last words", f"Release {live} keeps serving."]
    source = write_source(tmp_path / "source", {"main.py": code})
    for _attempt in range(2):
        play = host.play([{**GOOD, "flask_app_source": str(source)}])
        assert play.returncode == 2 and missing(play.output, words) == [], play.output
        assert host.live("good") == live
        assert host.get("/who", host="good.example").json()["cwd"] == directory
    assert differences(nginx, host.snapshot("/etc/nginx", "/etc/systemd", "/etc/flaskops")) == {}
    failed = set(host.releases("good")) - {live}
    newest = host.run("ls -t /srv/good/releases/*/failed.json").splitlines()[0]
    assert newest.split("/")[4] in failed
    assert host.run(f"stat -c '%a %U' {newest}") == "600 root"
    assert host.run(f"ls {newest.replace('failed', 'release')} 2>&1 || true").endswith("No such file or directory")
    # the same app, mended, converges to what serves already
    assert host.converge([GOOD]).recap["changed"] == 0
    assert_serves(host)


def test_new_app_that_fails_leaves_no_traffic_to_it(host: Target, tmp_path: Path) -> None:
    """The first release of an app fails: nginx's configuration does not have it, and only its record, which removal goes by, is new."""
    before = host.snapshot("/etc/nginx", "/etc/systemd", "/etc/flaskops")
    source = write_source(tmp_path / "source", {"main.py": "import nowhere\napp = None\n"})
    play = host.play([app("new", source, listen="82")])
    assert play.returncode == 2
    assert missing(play.output, ["No module named 'nowhere'", "No release is live."]) == [], play.output
    assert differences(before, host.snapshot("/etc/nginx", "/etc/systemd", "/etc/flaskops")).keys() == {"/etc/flaskops/apps/new.json"}
    assert host.live("new") == ""
    assert "82" not in host.run("ufw status")
    assert_serves(host)


def test_snippet_with_syntax_error(host: Target) -> None:
    """nginx shows its own message, keeps its old files and serves; a second run fails the same way."""
    nginx, live = host.snapshot("/etc/nginx"), host.live("good")
    workers = host.run("pgrep -P $(cat /run/nginx.pid)")
    for _attempt in range(2):
        play = host.play([{**GOOD, "nginx_site_snippet": "client_max_body_siez 20m;"}])
        assert play.returncode == 2, play.output
        assert missing(play.output, ['unknown directive "client_max_body_siez"', "/etc/nginx/flaskops/", "nginx -t: exit code 1"]) == []
        assert differences(nginx, host.snapshot("/etc/nginx")) == {}
        assert_serves(host)
    assert host.live("good") == live
    assert host.run("nginx -t 2>&1 | tail -1").endswith("test is successful")
    assert host.run("pgrep -P $(cat /run/nginx.pid)") == workers, "nginx was made to read the rejected files"


def test_snippet_that_breaks_out_of_its_block(host: Target) -> None:
    """A lost brace is a syntax error of the whole tree, and is put back like any other."""
    nginx = host.snapshot("/etc/nginx")
    play = host.play([{**GOOD, "nginx_site_snippet": "if ($host) {"}])
    assert play.returncode == 2 and "nginx -t: exit code 1" in play.output
    assert differences(nginx, host.snapshot("/etc/nginx")) == {}
    assert_serves(host)
