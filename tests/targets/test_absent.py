"""`flask_app_state: absent` removes every trace of one app; the other keeps serving, and data is kept by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, differences, write_source

ADDRESS = "198.18.2.90"
STAYS = app("stays", server_names=["stays.example"], environment={"KEY": "value"})
# On a site and port of its own; the name is in no other file of the system.
GOES = app("qzleaver", listen="8081", nginx_gunicorn_listen="127.0.0.1:8080", secrets={"TOKEN": "secret"})
NEIGHBOUR = app("qzmounted", mount="/mounted", server_names=["stays.example"])


def absent(one: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The same app, to be removed."""
    return {**one, "flask_app_state": "absent", **{f"flask_app_{key}": value for key, value in settings.items()}}


@pytest.fixture(scope="module")
def host(target: Target) -> Target:
    """A target that serves the app that stays."""
    target.converge([STAYS])
    return target


def traces(host: Target, name: str) -> str:
    """Whatever on the host has the app's name in its path, its text, or among units, processes and accounts.

    The tools that edit /etc/passwd keep the version before as /etc/passwd-, which is theirs.
    """
    return host.run(
        f"find / -xdev -name '*{name}*' -not -path '/proc/*'; grep -rlsF --exclude='*-' {name} /etc /srv /usr/local /var/lib /run;"
        f"getent passwd {name}; getent group {name}; systemctl list-units --all --no-legend '*{name}*'; pgrep -u {name} -l; true"
    )


def assert_serves(host: Target) -> None:
    """The app that stays answers, from the same process tree."""
    assert host.get("/", host="stays.example").json()["version"] == "one"


def test_no_trace_is_left_and_the_other_serves_on(host: Target) -> None:
    """Tree, units, accounts, nginx's files, the port: all gone; what was there before the app came is as it was."""
    places = ("/etc/nginx", "/etc/systemd", "/etc/flaskops", "/etc/ufw/user.rules", "/srv", "/etc/passwd", "/etc/group")
    before = {path: facts.split()[:-1] for path, facts in host.snapshot(*places).items()}
    firewall = host.run("ufw status verbose")
    pid = host.run("systemctl show --property=MainPID --value 'stays@*'")
    host.converge([GOES])
    assert host.get("/", port=8081).status == 200 and traces(host, "qzleaver")

    there = host.snapshot()
    dry = host.converge([absent(GOES)], "--check", "--diff")
    assert differences(there, host.snapshot()) == {}
    assert all(word in dry.output for word in ("/srv/qzleaver", "/etc/nginx/flaskops/8081", "qzleaver@"))
    assert host.get("/", port=8081).status == 200

    real = host.converge([absent(GOES)], "--diff")
    assert real.changed == dry.changed and real.diffs == dry.diffs
    assert traces(host, "qzleaver") == ""
    assert "8081" not in host.run("ufw status; ss --listening --tcp --numeric; nginx -T 2>/dev/null")
    assert host.run("ufw status verbose") == firewall
    assert {path: facts.split()[:-1] for path, facts in host.snapshot(*places).items()} == before
    assert host.run("systemctl show --property=MainPID --value 'stays@*'") == pid
    assert_serves(host)

    snapshot = host.snapshot()
    again = host.converge([STAYS, absent(GOES)])
    assert (again.recap["changed"], differences(snapshot, host.snapshot())) == (0, {})


def test_app_on_a_shared_site_leaves_the_site(host: Target) -> None:
    """Two apps in one server block: the block, its port and the other app stay."""
    host.converge([NEIGHBOUR])
    assert host.get("/mounted/", host="stays.example").json()["mount"] == "/mounted"
    host.converge([absent(NEIGHBOUR)])
    assert traces(host, "qzmounted") == ""
    assert host.get("/mounted/", host="stays.example").json()["mount"] == ""
    assert "80/tcp" in host.run("ufw status")
    assert_serves(host)


def test_data_is_kept_by_default(host: Target, tmp_path: Path) -> None:
    """What the app has written stays, with its account, and is there when the app comes back; a variable removes it."""
    source = write_source(tmp_path, {"main.py": (APPS / "probe/main.py").read_bytes(), "uploads/.keep": ""})
    data = {**GOES, "flask_app_source": str(source), "flask_app_shared": ["uploads"]}
    host.converge([data])
    assert host.get("/write?path=/srv/qzleaver/shared/uploads/kept", port=8081).json() == "written"
    play = host.converge([absent(data)])
    assert "/srv/qzleaver/shared" in play.output and "flask_app_remove_data" in play.output
    assert host.run("find /srv/qzleaver -type f") == "/srv/qzleaver/shared/uploads/kept"
    assert host.succeeds("getent passwd qzleaver")
    assert host.converge([absent(data)]).recap["changed"] == 0
    host.converge([data])
    assert host.get("/read?path=/srv/qzleaver/current/code/uploads/kept", port=8081).json() == b"written\n".hex()
    host.converge([absent(data, remove_data=True)])
    assert traces(host, "qzleaver") == ""
    assert_serves(host)


def test_absent_needs_the_name_alone(host: Target) -> None:
    """Without the app's source and settings it can still be removed completely."""
    host.converge([GOES])
    host.converge([{"flask_app_name": "qzleaver", "flask_app_state": "absent"}])
    assert traces(host, "qzleaver") == ""
    assert "8081" not in host.run("ufw status; ss --listening --tcp --numeric; nginx -T 2>/dev/null")
    assert_serves(host)


def test_absent_of_what_was_never_there(host: Target) -> None:
    """Nothing to do, also on a bare host; a foreign account of that name is not changed."""
    host.run("useradd --system --shell /usr/sbin/nologin qzforeign")
    before = host.snapshot()
    assert host.converge([absent(app("qzforeign"))]).recap["changed"] == 0
    assert differences(before, host.snapshot()) == {}


def test_absent_on_a_bare_host(new_target: Callable[..., Target]) -> None:
    """Nothing is installed, made or changed."""
    bare = new_target("198.18.2.91", "debian13")
    before = bare.snapshot()
    assert bare.converge([absent(GOES)]).recap["changed"] == 0
    assert differences(before, bare.snapshot()) == {}
