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
GOES = app("qzleaver", listen="8081", nginx_gunicorn_listen="127.0.0.1:8080", secrets={"TOKEN": "secret"}, shared=["uploads"])
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


def state(host: Target) -> tuple[dict[str, list[str]], str, str]:
    """Files without their times, the firewall, and the process of the app that stays."""
    places = ("/etc/nginx", "/etc/systemd", "/etc/flaskops", "/etc/ufw/user.rules", "/srv", "/etc/passwd", "/etc/group")
    files = {path: facts.split()[:-1] for path, facts in host.snapshot(*places).items()}
    return files, host.run("ufw status verbose"), host.run("systemctl show --property=MainPID --value 'stays@*'")


@pytest.fixture(scope="module")
def before(host: Target) -> tuple[dict[str, list[str]], str, str]:
    """The state before the apps that go."""
    return state(host)


def test_data_is_kept_by_default(host: Target, before: object, tmp_path: Path) -> None:
    """What the app has written stays, with its account, and is there when the app comes back."""
    source = write_source(tmp_path, {"main.py": (APPS / "probe/main.py").read_bytes(), "uploads/.keep": ""})
    data = {**GOES, "flask_app_source": str(source)}
    host.converge([data, NEIGHBOUR])
    assert host.get("/write?path=/srv/qzleaver/shared/uploads/kept", port=8081).json() == "written"
    assert host.get("/mounted/", host="stays.example").json()["mount"] == "/mounted"
    play = host.converge([absent(data), absent(NEIGHBOUR)])
    assert "/srv/qzleaver/shared" in play.output and "flask_app_remove_data" in play.output
    assert host.run("find /srv/qzleaver -type f") == "/srv/qzleaver/shared/uploads/kept"
    assert host.succeeds("getent passwd qzleaver")
    host.converge([data])
    assert host.get("/read?path=/srv/qzleaver/current/code/uploads/kept", port=8081).json() == b"written\n".hex()


def test_app_on_a_shared_site_leaves_the_site(host: Target) -> None:
    """The run before has removed one of two apps in one server block: the block, its port and the other app stay."""
    assert traces(host, "qzmounted") == ""
    assert host.get("/mounted/", host="stays.example").json()["mount"] == ""
    assert "80/tcp" in host.run("ufw status")


def test_no_trace_is_left_and_the_other_serves_on(host: Target, before: object) -> None:
    """Tree with data, units, accounts, nginx's files, the port: all gone, by the name alone; what was there before the app came is as it was."""
    gone = {"flask_app_name": "qzleaver", "flask_app_state": "absent", "flask_app_remove_data": True}
    assert host.get("/", port=8081).status == 200 and traces(host, "qzleaver")
    there = host.snapshot()
    dry = host.converge([gone], "--check", "--diff")
    assert differences(there, host.snapshot()) == {}
    assert all(word in dry.output for word in ("/srv/qzleaver", "/etc/nginx/flaskops/8081", "qzleaver@"))
    assert host.get("/", port=8081).status == 200

    real = host.converge([gone], "--diff")
    assert real.changed == dry.changed and real.diffs == dry.diffs
    assert traces(host, "qzleaver") == ""
    assert "8081" not in host.run("ufw status; ss --listening --tcp --numeric; nginx -T 2>/dev/null")
    assert state(host) == before
    assert host.get("/", host="stays.example").json()["version"] == "one"


def test_absent_of_what_is_not_there(host: Target) -> None:
    """Neither an app that has gone nor one that never was there is anything to do; a foreign account of that name is not changed."""
    host.run("useradd --system --shell /usr/sbin/nologin qzforeign")
    there = host.snapshot()
    again = host.converge([STAYS, absent(GOES), absent(app("qzforeign"))])
    assert (again.recap["changed"], differences(there, host.snapshot())) == (0, {})


def test_absent_on_a_bare_host(new_target: Callable[..., Target]) -> None:
    """Nothing is installed, made or changed."""
    bare = new_target("198.18.2.91", "debian13")
    there = bare.snapshot()
    assert bare.converge([absent(GOES)]).recap["changed"] == 0
    assert differences(there, bare.snapshot()) == {}
