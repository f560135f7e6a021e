"""Bad input is rejected with the variable, what was given and what would be right; nothing is changed, the good app keeps serving."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app, differences, missing, write_source

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


def assert_serves(host: Target) -> None:
    """Both good apps answer."""
    assert host.get("/", host="good.example").json() == {"version": "one", "mount": ""}
    assert host.get("/", port=81).json()["version"] == "one"


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
# What only shows once a repository was fetched.
IN_REPOSITORY: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no such version": ({"version": "v9"}, ["flask_app_source: cannot fetch 'v9' of"]),
    "no such module there": ({"module": "mian:app", "requirements": ""}, ["flask_app_module: got 'mian:app'", "its modules: main"]),
    "requirements that are left out": ({"requirements": "requirements.txt", "exclude": ["*.txt"]}, ["requirements.txt is not shipped"]),
}
PLAIN = {"flask_app_name": "new", "nginx_gunicorn_wrkers": 2, "flask_app_secrets": "71077345"}


@pytest.fixture(scope="module")
def rejected(host: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one run says of each mistake: to Ansible each is another host, and all of them are the target. On that, nothing may differ afterwards."""
    source = write_source(tmp_path_factory.mktemp("repository"), {"main.py": "app = None\n", "requirements.txt": ""})
    for command in ("init --quiet", "add .", "-c user.name=me -c user.email=me@example.com commit --quiet --message=first"):
        subprocess.run(["git", "-C", source, *command.split()], check=True)
    mistakes: dict[str, dict[str, Any]] = {
        **{name: {"flask_apps": [{**app("new", server_names=["new.example"]), **settings}]} for name, (settings, _words) in REJECTED.items()},
        **{name: {"flask_apps": apps, **variables} for name, (apps, variables, _words) in TOGETHER.items()},
        **{
            name: {"flask_apps": [app("new", source / ".git", listen="82", system_packages=["cowsay"], **settings)]}
            for name, (settings, _words) in IN_REPOSITORY.items()
        },
        "plain": PLAIN,
    }
    aliases = {name: f"mistake{number}" for number, name in enumerate(mistakes)}
    inventory = yaml.safe_load(host.inventory.read_text())[host.topology]["hosts"][host.name]
    several = replace(host, work=tmp_path_factory.mktemp("mistakes"))
    hosts = {aliases[name]: {**inventory, **variables} for name, variables in mistakes.items()}
    several.inventory.write_text(yaml.safe_dump({host.topology: {"hosts": hosts}}))
    before = host.snapshot(*MANIFEST)
    play = several.play(None, "--forks=5")
    assert differences(before, host.snapshot(*MANIFEST)) == {}
    assert_serves(host)
    assert host.succeeds("systemctl is-active squatter.service")
    assert play.returncode == 2 and "71077345" not in play.output, play.output
    said = {}
    for name, alias in aliases.items():
        assert re.search(rf"^{alias} +: +ok=\d+ +changed=0 +unreachable=0 +failed=1 ", play.output, re.MULTILINE), f"{name}: {play.output}"
        (said[name],) = re.findall(rf"^fatal: \[{alias}\].*?(?=^\S|\Z)", play.output, re.MULTILINE | re.DOTALL)
    return said


@pytest.mark.parametrize("mistake", REJECTED)
def test_rejected_before_anything_is_changed(rejected: dict[str, str], mistake: str) -> None:
    """A mistake in the variables of a new app."""
    assert missing(rejected[mistake], [*REJECTED[mistake][1], "Nothing was changed."]) == []


@pytest.mark.parametrize("mistake", TOGETHER)
def test_rejected_before_the_first_of_several_is_touched(rejected: dict[str, str], mistake: str) -> None:
    """An app that comes first, and a database, are not made for an app that is rejected."""
    assert missing(rejected[mistake], TOGETHER[mistake][2]) == []


@pytest.mark.parametrize("mistake", IN_REPOSITORY)
def test_a_repository_is_looked_at_before_packages_and_the_account(rejected: dict[str, str], mistake: str) -> None:
    """Of an app that needs a package and an account that are not there yet."""
    assert missing(rejected[mistake], [*IN_REPOSITORY[mistake][1], "Nothing was changed."]) == []


def test_rejected_with_plain_variables(rejected: dict[str, str]) -> None:
    """A host's own variables are checked like those of a list of apps, and nothing is there when it is missing."""
    wrong = ["nginx_gunicorn_wrkers: unknown variable", "did you mean nginx_gunicorn_workers?"]
    missed = ["flask_app_source: is not given", "flask_app_source: /home/me/shop"]
    assert missing(rejected["plain"], [*wrong, *missed, "flask_app_secrets: got a str", "a dictionary"]) == []


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
    """nginx shows its own message, keeps its old files and serves; a second run, here with a lost brace, fails the same way."""
    nginx, live = host.snapshot("/etc/nginx"), host.live("good")
    workers = host.run("pgrep -P $(cat /run/nginx.pid)")
    for snippet, words in (
        ("client_max_body_siez 20m;", ['unknown directive "client_max_body_siez"', "/etc/nginx/flaskops/"]),
        ("if ($host) {", []),  # a syntax error of the whole tree
    ):
        play = host.play([{**GOOD, "nginx_site_snippet": snippet}])
        assert play.returncode == 2, play.output
        assert missing(play.output, [*words, "nginx -t: exit code 1"]) == [], snippet
        assert differences(nginx, host.snapshot("/etc/nginx")) == {}, snippet
        assert_serves(host)
    assert host.live("good") == live
    assert host.run("nginx -t 2>&1 | tail -1").endswith("test is successful")
    assert host.run("pgrep -P $(cat /run/nginx.pid)") == workers, "nginx was made to read the rejected files"
