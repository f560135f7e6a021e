"""An app's account writes only its run/ and shared/, and sees nothing of its neighbours; nginx sees the socket and static files."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, write_source

ADDRESS = "198.18.2.60"
DENIED = {"PermissionError", "OSError", "FileNotFoundError"}  # OSError: a read-only file system


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The probe with a static file, and a directory for uploads."""
    files: dict[str, str | bytes] = {
        "main.py": (APPS / "probe/main.py").read_bytes(),
        "static/style.css": "",
        "uploads/.keep": "",
        "private.txt": "mine",
    }
    return str(write_source(tmp_path_factory.mktemp("source"), files))


@pytest.fixture(scope="module")
def host(target: Target, source: str) -> Target:
    """Two apps that would like to know more of one another."""
    one = app("one", source, shared=["uploads"], static={"/static": "static"}, environment={"KEY": "value"})
    target.converge([one, app("two", source, listen="81")])
    return target


def ask(host: Target, action: str, path: str, port: int = 80) -> object:
    """Have an app's process do something to a path."""
    return host.get(f"/{action}?path={quote(path)}", port=port).json()


def as_account(host: Target, account: str, command: str) -> bool:
    """Return whether a command succeeds as an account outside of any sandbox."""
    group = host.run(f"id -gn {account}")
    return host.succeeds(f"setpriv --reuid={account} --regid={group} --init-groups sh -c '{command}'")


@pytest.mark.parametrize(
    "path",
    [
        "/srv/one/current/code/main.py", "/srv/one/current/code/new.py", "/srv/one/current/code/static/new.css", "/srv/one/current/new",
        "/srv/one/current/environment", "/srv/one/current/gunicorn.conf.py", "/srv/one/current/app.service", "/srv/one/current/release.json",
        "/srv/one/current/.venv/bin/python", "/srv/one/current/.venv/new", "/srv/one/current/.venv/lib/new.pth", "/srv/one/new",
        "/srv/one/releases/new", "/srv/one/venvs/new", "/srv/new", "/etc/new", "/var/log/nginx/access.log",
    ],
)  # fmt: skip
def test_app_cannot_write(host: Target, path: str) -> None:
    """Neither from its sandbox, nor without a sandbox: the modes forbid it by themselves."""
    answer = ask(host, "write", path)
    assert isinstance(answer, dict) and answer["refused"] in DENIED, answer
    assert not as_account(host, "one", f"echo >>{path}")


def test_app_writes_where_it_may(host: Target) -> None:
    """run/ of its own release, shared/, its uploads through the link in its code, and a /tmp that nobody else sees."""
    for path in ("/srv/one/current/run/new", "/srv/one/shared/new", "/srv/one/current/code/uploads/new", "/tmp/new"):
        assert ask(host, "write", path) == "written", path
    assert host.run("cat /srv/one/shared/uploads/new") == "written"
    assert host.run("readlink -f /srv/one/current/code/uploads") == "/srv/one/shared/uploads"
    assert not host.succeeds("test -e /tmp/new")


@pytest.mark.parametrize(
    "path",
    [
        "/srv/one/current/code", "/srv/one/current/code/main.py", "/srv/one/current/code/private.txt", "/srv/one/current/environment",
        "/srv/one/current/gunicorn.conf.py", "/srv/one/current/release.json", "/srv/one/current/run", "/srv/one/shared",
        "/srv/one/shared/uploads", "/etc/shadow", "/etc/flaskops/key", "/etc/flaskops/apps/one.json", "/root", "/home/ubuntu",
    ],
)  # fmt: skip
def test_neighbour_cannot_read(host: Target, path: str) -> None:
    """The other app, in its sandbox and without it."""
    answer = ask(host, "read", path, port=81)
    # ProtectHome shows homes as empty directories
    assert answer == [] or (isinstance(answer, dict) and answer["refused"] in DENIED), answer
    assert not as_account(host, "two", f"cat {path} || ls {path}/")


def test_neighbour_cannot_reach_socket_or_process(host: Target) -> None:
    """Not by its socket, past nginx; nor by its entry in /proc."""
    answer = ask(host, "connect", "/srv/one/current/run/app.sock", port=81)
    assert isinstance(answer, dict) and answer["refused"] == "PermissionError"
    pid = host.get("/who").json()["pid"]
    assert ask(host, "read", f"/proc/{pid}/cmdline", port=81) == {"refused": "FileNotFoundError", "errno": 2}
    assert not as_account(host, "two", f"kill -0 {pid}")


def test_nginx_reads_static_files_alone(host: Target) -> None:
    """Its account gets the static file and the socket, and neither code nor environment."""
    for path in ("code/main.py", "code/private.txt", "environment", "gunicorn.conf.py", "release.json"):
        assert not as_account(host, "www-data", f"cat /srv/one/current/{path}"), path
    assert not as_account(host, "www-data", "ls /srv/one/current/code")
    assert as_account(host, "www-data", "cat /srv/one/current/code/static/style.css")
    assert as_account(host, "www-data", "test -w /srv/one/current/run/app.sock")
    assert not as_account(host, "www-data", "touch /srv/one/current/run/new")


def test_accounts(host: Target) -> None:
    """System accounts without a shell, a home or further groups; the process runs as them."""
    for name, port in (("one", 80), ("two", 81)):
        uid, gid, home, shell = host.run(f"getent passwd {name} | cut -d: -f3,4,6,7").split(":")
        assert int(uid) < 1000 and (home, shell) == ("/nonexistent", "/usr/sbin/nologin")
        who = host.get("/who", port=port).json()
        assert (who["uid"], who["gid"], who["groups"]) == (int(uid), int(gid), [int(gid)])
        assert not host.succeeds(f"find / -xdev -user {name} ! -path '/srv/{name}/*' ! -path '/tmp/*' ! -path '/var/tmp/*' | grep .")


def test_nothing_of_a_release_is_the_apps_but_run(host: Target) -> None:
    """Every path of the release and its venv belongs to root, and none is writable for others."""
    owned = host.run("find -L /srv/one/current /srv/one/current/.venv/ -user one ! -path '*/code/uploads*' -maxdepth 4 | sort").split()
    assert owned == ["/srv/one/current/run", "/srv/one/current/run/app.sock", "/srv/one/current/run/new"]
    assert host.run("find /srv -perm /022 ! -type l ! -type s ! -path '*/shared/*' ! -path '*/run/*'") == ""


def test_shared_data_survives_releases(host: Target, source: str) -> None:
    """The next release sees what the one before wrote, and may write on."""
    assert ask(host, "write", "/srv/one/current/code/uploads/kept") == "written"
    before = host.live("one")
    host.converge([app("one", source, shared=["uploads"], environment={"KEY": "another"})])
    assert host.live("one") != before
    kept = "/srv/one/current/code/uploads/kept"
    assert ask(host, "write", kept) == "written"
    assert host.run(f"cat {kept}") == "written\nwritten"
