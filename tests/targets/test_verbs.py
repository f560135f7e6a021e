"""What is done to an app from day two on, each by its playbook: deploy, roll back, look, run a command."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.targets.harness import APPS, Target, app, differences, missing, write_source

ADDRESS = "198.18.2.200"
UNIT_DIRECTORIES = ("/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants")
SECRET = "correct horse 'battery' staple"
PROBE = (APPS / "probe/main.py").read_text()


def probe(version: str) -> str:
    """The probe app's code as another version."""
    return PROBE.replace('VERSION = "one"', f'VERSION = "{version}"')


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's code, which the tests change."""
    return write_source(tmp_path_factory.mktemp("shop"), {"main.py": probe("one")})


@pytest.fixture(scope="module")
def apps(source: Path) -> list[dict[str, object]]:
    """Two apps of one host."""
    return [app("shop", source, secrets={"PASSWORD": SECRET}), app("blog", listen="81")]


@pytest.fixture(scope="module")
def host(target: Target, apps: list[dict[str, object]]) -> Target:
    """A host with both, only in its topology's group, because deploy goes by the groups."""
    groups = yaml.safe_load(target.inventory.read_text())
    target.inventory.write_text(yaml.safe_dump({target.topology: groups[target.topology]}))
    target.converge(apps)
    return target


def served(host: Target) -> str:
    """The version that the shop's visitors get."""
    return str(host.get("/").json()["version"])


def test_deploy_ships_one_app_and_changes_nothing_else(host: Target, apps: list[dict[str, object]], tmp_path: Path) -> None:
    """From another source, if that is said; a change to the other app, and to the site, waits for flaskops.hosting.site."""
    other = write_source(tmp_path, {"main.py": probe("elsewhere")})
    before = host.snapshot("/etc", "/srv/blog")
    changed = [{**apps[0], "nginx_site_snippet": "expires 20m;"}, {**apps[1], "flask_app_environment": {"MORE": "1"}}]
    play = host.converge(changed, playbook="deploy", variables={"flask_app_name": "shop", "flask_app_source": str(other)})
    assert served(host) == "elsewhere"
    assert play.changed == ["Stage the release, and make it live"]
    touched = differences(before, host.snapshot("/etc", "/srv/blog"))
    noted = "/etc/flaskops/apps/shop.json"  # which unit serves
    assert [path for path in touched if "shop@" not in path and path not in (noted, *UNIT_DIRECTORIES)] == []


def test_deploy_rejects_an_unknown_name(host: Target, apps: list[dict[str, object]]) -> None:
    """And says which there are."""
    play = host.play(apps, playbook="deploy", variables={"flask_app_name": "shpo"})
    assert play.returncode and not missing(play.output, ["flask_app_name: got shpo, needs an app of the inventory: blog, shop"])


def test_deploy_rejects_an_app_that_is_not_installed(host: Target) -> None:
    """It would lack a site and a firewall rule."""
    play = host.play([app("news", listen="82")], playbook="deploy", variables={"flask_app_name": "news"})
    assert play.returncode and not missing(play.output, ["news is not on this host as nginx_gunicorn", "Run that first"])
    assert host.live("news") == "" and play.recap["changed"] == 0
    play = host.play([app("news", state="absent")], playbook="deploy", variables={"flask_app_name": "news"})
    assert play.returncode and not missing(play.output, ["flask_app_state: got absent for news", "whose state is present"])


def test_rollback_goes_back_step_by_step(host: Target, apps: list[dict[str, object]], source: Path) -> None:
    """To the good release before, to the one before that, or to any that was live by its name; the deployed code comes back with a deploy."""
    elsewhere = host.live("shop")
    write_source(source, {"main.py": probe("two")})
    host.converge(apps, playbook="deploy", variables={"flask_app_name": "shop"})
    assert served(host) == "two", "another source is for its run only"
    for version in ("elsewhere", "one"):
        play = host.converge(apps, playbook="rollback", variables={"flask_app_name": "shop"})
        assert served(host) == version
        assert f"(release {host.live('shop')}, before" in " ".join(play.output.split())
    host.converge(apps, playbook="rollback", variables={"flask_app_name": "shop", "flask_app_release": elsewhere})
    assert host.live("shop") == elsewhere
    host.converge(apps, playbook="deploy", variables={"flask_app_name": "shop"})
    assert served(host) == "two"


def test_status_shows_what_runs_and_what_failed(host: Target, apps: list[dict[str, object]], source: Path) -> None:
    """A row for each app on each host, and of one app the details; nothing else."""
    write_source(source, {"main.py": probe("broken") + "\nimport nowhere\n"})
    assert host.play(apps, playbook="deploy", variables={"flask_app_name": "shop"}).returncode
    heading, *rows = host.converge(apps, playbook="status").shown_by("Show all apps").partition("- ")[2].splitlines()[:3]
    live, who = host.live("shop"), f"{getpass.getuser()}@{socket.gethostname()}"
    assert heading.split() == "host app URL health live release since version by processes".split()
    for row, app_name, url in zip(rows, ("blog", "shop"), (f"http://{ADDRESS}:81/", f"http://{ADDRESS}/"), strict=True):
        cells = row.removeprefix("    - ").split("  ")
        assert [cell.strip() for cell in cells if cell][:5] == [host.name, app_name, url, "200 OK", host.live(app_name)]
        assert row.endswith("web=active") and who[:39] in row and row.index(who[:39]) - len("    - ") == heading.index("by ")
    play = host.converge(apps, playbook="status", variables={"flask_app_name": "shop"})
    details = play.shown_by("Show the details of the app")
    words = [
        f"live: {live} since 20", "health 200 OK", "web active", f"{live}, live 20", f" by {who}", "Booting worker",
        "failed: importing main raised ModuleNotFoundError",
    ]  # fmt: skip
    assert missing(details, words) == []
    assert "instances" not in play.output, "internals of the survey"


def test_logs_show_the_last_lines_and_how_to_follow_them(host: Target, apps: list[dict[str, object]]) -> None:
    """Also those of the releases before, without secrets."""
    host.run(f"logger --tag before 'no' && systemctl kill --signal=USR1 shop@{host.live('shop')}.service")
    shown = host.converge(apps, playbook="logs", variables={"flask_app_name": "shop", "lines": 40}).shown_by("Show the log of the app")
    lines = [line for line in shown.splitlines() if line.startswith("    - ")]
    assert len(lines) == 41 and lines[-1].strip("- ") == f"to follow it, type ssh -t ubuntu@{ADDRESS} sudo journalctl --follow --unit='shop@*'"
    assert shown.count("Starting gunicorn") > 1 and "'20" in lines[0]


def test_a_command_runs_as_the_app_and_its_code_knows_of_it(host: Target, apps: list[dict[str, object]]) -> None:
    """In a shell, in the code of the live release, with its environment; a secret in its output is hidden."""
    command = "echo $PASSWORD; id -un; pwd; grep -c VERSION <main.py; echo it''s fine >../../../shared/note; exit 3"
    play = host.play(apps, playbook="run", variables={"flask_app_name": "shop", "command": command})
    shown = play.shown_by("Show what the command wrote")
    assert not missing(shown, ["- <PASSWORD>", "- shop", f"- /srv/shop/releases/{host.live('shop')}/code"]), play.output
    assert play.returncode == 2 and "ended with code 3" in play.shown_by("End as the command ended") and SECRET not in play.output
    assert host.run("cat /srv/shop/shared/note") == "its fine" and "failed.json" not in host.run(f"ls /srv/shop/releases/{host.live('shop')}")


def test_a_command_that_the_command_line_cut_is_rejected(host: Target, apps: list[dict[str, object]]) -> None:
    """Ansible takes the words after a space for something else."""
    play = host.play(apps, "-e", "flask_app_name=shop command=flask routes", playbook="run")
    words = "command: got flask, and apart from it: routes, needs a command in two pairs of quotes"
    assert play.returncode == 2 and words in " ".join(play.output.split())
    assert play.recap["ok"] == 1, "the inventory was checked, and no host was asked"


def test_remove_takes_one_app_off(host: Target, apps: list[dict[str, object]]) -> None:
    """With all it had; what it wrote stays until that is said, and the other app keeps serving."""
    host.run("echo kept >/srv/shop/shared/data")
    other = host.get("/", 81).text
    play = host.converge(apps, playbook="remove", variables={"flask_app_name": "shop"})
    assert "The app's data in /srv/shop/shared was kept" in " ".join(play.output.split())
    host.converge(apps, playbook="remove", variables={"flask_app_name": "shop", "remove_data": True})
    assert not host.succeeds("test -e /srv/shop || id shop || ls /etc/systemd/system/shop@* || test -e /etc/nginx/sites-enabled/80.conf")
    assert host.get("/", 81).text == other
