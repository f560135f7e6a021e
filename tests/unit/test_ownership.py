"""Who has which path and which service: noted with the files themselves, and gone with its last owner."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import host_config_files, ownership, transaction
from ansible_collections.flaskops.hosting.plugins.module_utils.ownership import Owned, Service, read_owners
from ansible_collections.flaskops.hosting.plugins.module_utils.transaction import Change, Transaction

SAMPLES = Path(__file__).parent / "records" / "0.1.0"
FRONTS = ("nginx.service", "apache2.service")


class Systemd:
    """Units as systemd would have them, on a host on which only one of two web servers can have the port."""

    def __init__(self) -> None:
        self.up: set[str] = set()
        self.enabled: set[str] = set()
        self.said: list[str] = []
        self.rejected: set[str] = set()  # tests that fail
        self.broken: set[str] = set()  # services that do not start
        self.units: Path = Path("none")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What systemctl, and the servers' own tests, do."""
        words = tuple(word for word in words if word != "--quiet")
        self.said.append(" ".join(words))
        if words[0] != "systemctl":
            return subprocess.CompletedProcess(words, int(self.said[-1] in self.rejected), "line 1 is wrong")
        verb, name = words[1], words[-1]
        if verb == "enable":
            self.enabled.add(name)
        if verb == "disable":
            self.enabled.discard(name)
        if verb == "stop" or "--now" in words:
            self.up.discard(name)
            if name.startswith("shop-port"):
                assert (self.units / name).exists(), "systemd can stop only what it has a file of"
        if verb in ("start", "restart", "reload-or-restart"):
            in_the_way = name in FRONTS and self.up & set(FRONTS) - {name}
            if name in self.broken or in_the_way:
                return subprocess.CompletedProcess(words, 1, "failed")
            self.up.add(name)
        return subprocess.CompletedProcess(words, 0, "")

    def properties(self, name: str, *_names: str) -> dict[str, str]:
        """What systemctl shows."""
        return {"ActiveState": "active" if name in self.up else "inactive", "UnitFileState": "enabled" if name in self.enabled else "disabled"}


class Host:
    """A host whose /etc is a directory of the test's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.etc, self.systemd, self._monkeypatch = root / "etc", Systemd(), monkeypatch
        self.nginx, self.apache = self.etc / "nginx", self.etc / "apache2"
        self.units = self.systemd.units = self.etc / "systemd/system"
        self.owners, self.records = self.etc / "flaskops/owners", self.etc / "flaskops/apps"
        self.journal, self.originals = root / "var/transaction", root / "var/originals"
        for directory in (self.nginx / "sites-enabled", self.apache / "sites-enabled", self.units, self.records):
            directory.mkdir(parents=True)
        for module, name, value in (
            (ownership, "OWNERS", self.owners),
            (ownership, "RECORDS", self.records),
            (ownership, "ORIGINALS", self.originals),
            (ownership, "NGINX", str(self.nginx)),
            (ownership, "APACHE", str(self.apache)),
            (ownership, "UNITS", str(self.units)),
            (host_config_files, "UNITS", self.units),
            (host_config_files, "JOURNAL", self.journal),
            (host_config_files, "run", self.systemd.run),
            (host_config_files, "unit_properties", self.systemd.properties),
            (transaction, "_owner_names", lambda _found: ("root", "root")),
        ):
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr("shutil.chown", lambda *_more: None)

    def write(
        self,
        owner: str | None,
        *paths: Path,
        services: list[dict[str, Any]] | None = None,
        absent: list[Path] | None = None,
        edits: list[tuple[Path, str, str]] | None = None,
        files: list[dict[str, str]] | None = None,
        check: bool = False,
    ) -> Any:
        """Run config_files with a text for each path, and with more files as they are given; returns its result, with what it warned of."""
        defaults = {"test": "", "needs": "", "on_change": "reloaded", "reads": []}
        options = {
            "owner": owner,
            "files": [
                *({"dest": str(path), "content": f"{path.name}\n"} for path in paths),
                *({"dest": str(path), "state": "absent"} for path in absent or []),
                *({"dest": str(path), "replace": old, "by": new} for path, old, new in edits or []),
                *(files or []),
            ],
            "services": [{**defaults, **service} for service in services or []],
            "payload": "",
        }
        self.systemd.said.clear()
        return host_config_files.answer(options, check)

    def note(self, owner: str) -> dict[str, Any]:
        """What is noted of an owner."""
        return dict(json.loads((self.owners / f"{owner}.json").read_text()))

    def nginx_service(self) -> dict[str, Any]:
        """nginx, as an app's services name it."""
        return {"name": "nginx.service", "test": "nginx -t", "needs": str(self.nginx / "sites-enabled"), "reads": [str(self.nginx)]}

    def apache_service(self) -> dict[str, Any]:
        """Apache, as an app's services name it."""
        return {"name": "apache2.service", "test": "apache2ctl configtest", "needs": str(self.apache / "sites-enabled"), "reads": [str(self.apache)]}

    def behind_nginx(self, app: str, **options: Any) -> Any:
        """Put an app onto the site 80, behind nginx."""
        site = self.nginx / "sites-enabled/80.conf"
        return self.write(app, self.nginx / f"flaskops/80/{app}.conf", site, services=[self.nginx_service()], **options)

    def behind_apache(self, app: str) -> Any:
        """Put an app onto the site 80, behind Apache."""
        site = self.apache / "sites-enabled/80.conf"
        return self.write(app, self.apache / f"flaskops/80/99-{app}.conf", site, services=[self.apache_service()])

    def snapshot(self) -> dict[str, str | None]:
        """All paths below /etc, with what files hold."""
        return {str(path.relative_to(self.etc)): path.read_text() if path.is_file() else None for path in sorted(self.etc.rglob("*"))}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with nginx and Apache, neither of which runs."""
    return Host(tmp_path, monkeypatch)


def test_a_run_notes_what_it_makes(host: Host) -> None:
    result = host.behind_nginx("shop")
    assert result["changed"] and result["services"] == {"nginx.service": "started"}
    note = host.note("shop")
    assert note["paths"] == [str(host.nginx / "flaskops/80/shop.conf"), str(host.nginx / "sites-enabled/80.conf")]
    assert note["directories"] == [str(host.nginx / "flaskops"), str(host.nginx / "flaskops/80")], "not sites-enabled, which was there"
    assert note["services"] == [{**host.nginx_service(), "on_change": "reloaded", "lists": ""}]
    assert note["format"] == 1
    assert str(host.owners / "shop.json") in result["paths"], "the note is one of the changes"


def test_a_second_run_changes_and_tests_nothing(host: Host) -> None:
    host.behind_nginx("shop")
    before = host.snapshot()
    result = host.behind_nginx("shop")
    assert not result["changed"] and result["paths"] == [] and result["services"] == {}
    assert host.systemd.said == [] and host.snapshot() == before


def test_without_an_owner_nothing_is_noted(host: Host) -> None:
    host.write(None, host.etc / "a.conf")
    result = host.write(None, host.etc / "b.conf")
    assert result["changed"] and (host.etc / "a.conf").exists() and not host.owners.exists()


def test_what_is_named_no_more_goes(host: Host) -> None:
    host.write("shop", host.etc / "a.d/a.conf", host.etc / "b.conf")
    result = host.write("shop", host.etc / "b.conf")
    assert result["paths"] == [str(host.etc / "a.d/a.conf"), str(host.etc / "a.d"), str(host.owners / "shop.json")]
    assert not (host.etc / "a.d").exists() and (host.etc / "b.conf").exists()


def test_a_file_that_was_there_before_comes_back_with_the_last_owner(host: Host) -> None:
    ports = host.apache / "ports.conf"
    ports.write_text("Listen 80\n")
    ports.chmod(0o640)
    for app in ("shop", "blog", "shop"):
        host.write(app, ports)
    host.write("shop")
    assert ports.read_text() == "ports.conf\n", "another owner has it still"
    host.write("blog")
    assert (ports.read_text(), oct(ports.stat().st_mode)[-3:], list(host.originals.iterdir())) == ("Listen 80\n", "640", [])
    assert not host.write("blog")["changed"]


def test_a_text_in_a_file_of_somebody_elses_is_replaced_till_the_last_owner_goes(host: Host) -> None:
    own = host.nginx / "nginx.conf"
    own.write_text("events {\n    connections 768;\n}\n")
    own.chmod(0o640)
    edits = [(own, "connections 768;", "connections 8192; # ours")]
    result = host.write("shop", host.nginx / "shop.conf", edits=edits, services=[host.nginx_service()])
    assert own.read_text() == "events {\n    connections 8192; # ours\n}\n" and oct(own.stat().st_mode)[-3:] == "640"
    assert str(own) in result["paths"] and [one["after"] for one in result["diff"] if one["after_header"] == str(own)] == [own.read_text()]
    assert host.write("blog", edits=edits, services=[host.nginx_service()])["paths"] == [str(host.owners / "blog.json")]
    assert not host.write("blog", edits=edits, services=[host.nginx_service()])["changed"]
    own.write_text(own.read_text() + "# of the administrator\n")
    host.write("shop")
    assert "8192" in own.read_text(), "another owner has it still"
    host.write("blog")
    assert own.read_text() == "events {\n    connections 768;\n}\n# of the administrator\n"


def test_a_text_that_is_not_there_is_not_replaced(host: Host) -> None:
    own = host.nginx / "nginx.conf"
    own.write_text("connections 4096;\n")
    edits = [(own, "connections 768;", "connections 8192; # ours")]
    host.write("shop", edits=edits)
    host.write("shop")
    assert own.read_text() == "connections 4096;\n"
    own.write_bytes(b"# caf\xe9\nconnections 768;\n")
    own.rename(host.etc / "kept.conf")
    own.symlink_to(host.etc / "kept.conf")
    host.write("shop", edits=edits)
    assert own.is_symlink() and b"768" in own.read_bytes(), "somebody keeps it elsewhere"
    host.write("shop")
    own.unlink()
    (host.etc / "kept.conf").unlink()
    result = host.write("shop", edits=edits, check=True)
    assert str(own) in result["paths"], "a dry run: the package brings it"
    before = host.snapshot()
    assert "nginx.conf is not there" in host.write("shop", edits=edits)["msg"] and host.snapshot() == before


def test_a_server_is_restarted_for_its_own_drop_in_alone(host: Host) -> None:
    """And not when it goes, because a restart loses requests."""
    drop_in, site = host.units / "nginx.service.d/flaskops.conf", host.nginx / "sites-enabled/80.conf"
    host.systemd.up.add("nginx.service")
    host.systemd.enabled.add("nginx.service")
    services = [host.nginx_service()]
    assert host.write("shop", site, drop_in, services=services)["services"] == {"nginx.service": "restarted"}
    assert host.systemd.said.index("systemctl daemon-reload") < host.systemd.said.index("systemctl restart nginx.service")
    assert host.write("blog", site, drop_in, host.nginx / "blog.conf", services=services)["services"] == {"nginx.service": "reloaded"}
    host.write("shop")
    (host.nginx / "sites-enabled/foreign.conf").touch()
    assert host.write("blog")["services"] == {"nginx.service": "reloaded"}, "its site went"
    assert not drop_in.parent.exists() and "systemctl daemon-reload" in host.systemd.said


def test_a_server_that_reads_nothing_but_its_drop_in_is_left_alone_when_that_goes(host: Host) -> None:
    """It may still run what the app had there till now."""
    drop_in = host.units / "supervisor.service.d/flaskops.conf"
    host.write("shop", drop_in, services=[{"name": "supervisor.service", "reads": [str(drop_in)]}])
    assert host.write("shop")["services"] == {} and "supervisor.service" in host.systemd.up


def test_what_another_owner_has_stays_till_that_one_goes(host: Host) -> None:
    for app in ("shop", "blog"):
        host.behind_nginx(app)
    result = host.write("shop")
    assert sorted(path.name for path in (host.nginx / "flaskops/80").iterdir()) == ["blog.conf"]
    assert (host.nginx / "sites-enabled/80.conf").exists() and not (host.owners / "shop.json").exists()
    assert result["services"] == {"nginx.service": "reloaded"}
    assert host.systemd.said[0] == "nginx -t", "what stays is tested"
    assert host.note("blog")["directories"] == [str(host.nginx / "flaskops"), str(host.nginx / "flaskops/80")], "whoever made them"
    assert host.write("blog")["services"] == {"nginx.service": "stopped"}
    assert not (host.nginx / "flaskops").exists() and (host.nginx / "sites-enabled").exists()
    assert host.systemd.up == host.systemd.enabled == set()
    assert host.write("blog")["changed"] is False


def test_a_service_that_is_left_and_does_not_run_is_not_started(host: Host) -> None:
    """Such as the one whose package was removed: nor is its test run, which would stand in the way."""
    for app in ("shop", "blog"):
        host.behind_nginx(app)
    host.systemd.up.clear()
    host.systemd.rejected.add("nginx -t")
    result = host.write("shop")
    assert result["changed"] and result["services"] == {} and host.systemd.said == []


def test_a_directory_that_holds_somebody_elses_file_stays(host: Host) -> None:
    host.behind_nginx("shop")
    mine, theirs = host.nginx / "flaskops/80/shop.conf", host.nginx / "flaskops/80/theirs.conf"
    theirs.touch()
    assert not host.write("shop").get("failed")
    assert theirs.exists() and not mine.exists()


def test_a_directory_in_the_place_of_an_owned_file_is_not_ours(host: Host) -> None:
    host.write("shop", host.etc / "a.conf")
    (host.etc / "a.conf").unlink()
    (host.etc / "a.conf/deep").mkdir(parents=True)
    assert host.write("shop")["changed"]
    assert (host.etc / "a.conf/deep").is_dir() and not (host.owners / "shop.json").exists()


def test_a_path_that_is_to_be_absent_is_nobodys(host: Host) -> None:
    default = host.nginx / "sites-enabled/default"
    default.touch()
    host.write("shop", host.etc / "a.conf", absent=[default])
    assert not default.exists() and host.note("shop")["paths"] == [str(host.etc / "a.conf")]
    default.touch()
    host.write("shop")
    assert default.exists(), "somebody has put it there again"


def test_what_an_owner_had_may_also_be_named_absent(host: Host) -> None:
    host.write("shop", host.etc / "a.conf", host.etc / "b.conf")
    result = host.write("shop", host.etc / "b.conf", absent=[host.etc / "a.conf"])
    assert result["paths"] == [str(host.etc / "a.conf"), str(host.owners / "shop.json")]


def test_a_dry_run_tells_all_and_does_nothing(host: Host) -> None:
    host.behind_nginx("shop")
    before = host.snapshot()
    result = host.write("shop", host.etc / "b.conf", check=True)
    assert result["changed"] and host.snapshot() == before and host.systemd.said == []
    gone = [host.nginx / "flaskops/80/shop.conf", host.nginx / "sites-enabled/80.conf", host.nginx / "flaskops/80", host.nginx / "flaskops"]
    assert result["paths"] == [str(path) for path in [host.etc / "b.conf", *gone, host.owners / "shop.json"]]
    assert "b.conf" in result["diff"][-1]["after"], "the note is shown like any file"


def test_a_service_is_only_concerned_by_what_it_reads(host: Host) -> None:
    socket, site = host.units / "shop-port-8080.socket", host.nginx / "sites-enabled/80.conf"
    services = [{"name": "shop-port-8080.socket", "on_change": "restarted", "reads": [str(socket)]}, host.nginx_service()]
    assert host.write("shop", socket, site, services=services)["services"] == {"shop-port-8080.socket": "started", "nginx.service": "started"}
    assert host.systemd.said[0] == "systemctl daemon-reload"
    site.write_text("old\n")
    assert host.write("shop", socket, site, services=services)["services"] == {"nginx.service": "reloaded"}
    assert "daemon-reload" not in " ".join(host.systemd.said)
    socket.write_text("old\n")
    assert host.write("shop", socket, site, services=services)["services"] == {"shop-port-8080.socket": "restarted"}
    assert "nginx -t" not in host.systemd.said


class Says:
    """A server whose commands say something."""

    def __init__(self, systemd: Systemd, **outputs: str) -> None:
        self.systemd, self.outputs = systemd, outputs

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As of the host, with what it says."""
        done = self.systemd.run(*words)
        return subprocess.CompletedProcess(words, done.returncode, self.outputs.get(words[-1].lstrip("-"), done.stdout))


WARNING = 'nginx: [warn] conflicting server name "shop.example" on 0.0.0.0:80, ignored'


@pytest.mark.parametrize(
    ("content", "listed", "reason"),
    [
        ("server_name shop.example;", True, "ignored\nSomething else has this already"),
        ("server_name blog.example;", True, ""),
        ("server_name blog.example;", False, "nginx.service does not read "),
    ],
)
def test_a_site_that_nginx_ignores_or_does_not_read_is_rejected(
    host: Host, monkeypatch: pytest.MonkeyPatch, content: str, listed: bool, reason: str
) -> None:
    site, link = host.nginx / "sites-available/80.conf", host.nginx / "sites-enabled/80.conf"
    host.systemd.up.add("nginx.service")
    monkeypatch.setattr(host_config_files, "run", Says(host.systemd, t=WARNING, T=str(link) if listed else "").run)
    service = {**host.nginx_service(), "lists": "nginx -T"}
    files = [{"dest": str(site), "content": content}, {"link": str(link), "to": "../sites-available/80.conf"}]
    result = host.write("shop", files=files, services=[service])
    assert bool(result.get("failed")) == bool(reason) and reason in result.get("msg", "")
    assert site.exists() == link.is_symlink() == (not reason)
    assert reason or result["warnings"] == [WARNING]


def test_a_service_that_somebody_stopped_is_started(host: Host) -> None:
    host.behind_nginx("shop")
    host.systemd.up.clear()
    assert host.behind_nginx("shop", check=True)["changed"]
    assert host.behind_nginx("shop")["services"] == {"nginx.service": "started"}
    host.systemd.enabled.clear()
    assert host.behind_nginx("shop")["services"] == {"nginx.service": "enabled"}
    assert not host.behind_nginx("shop")["changed"]


def test_an_app_moves_from_one_web_server_to_the_other_on_one_port(host: Host) -> None:
    host.behind_nginx("shop")
    result = host.behind_apache("shop")
    assert result["services"] == {"nginx.service": "stopped", "apache2.service": "started"}
    assert host.systemd.up == host.systemd.enabled == {"apache2.service"}
    assert [one["name"] for one in host.note("shop")["services"]] == ["apache2.service"]
    assert not (host.nginx / "flaskops").exists() and list((host.nginx / "sites-enabled").iterdir()) == []
    said = host.systemd.said
    assert said.index("apache2ctl configtest") < said.index("systemctl disable --now nginx.service") < said.index("systemctl start apache2.service")


def test_a_move_that_fails_has_everything_as_it_was(host: Host) -> None:
    host.behind_nginx("shop")
    before = host.snapshot()
    host.systemd.broken.add("apache2.service")
    result = host.behind_apache("shop")
    assert result["failed"] and not result["changed"] and "systemctl start apache2.service: exit code 1" in result["msg"]
    assert host.snapshot() == before
    assert host.systemd.up == host.systemd.enabled == {"nginx.service"}


def test_a_move_that_is_rejected_never_stops_the_server(host: Host) -> None:
    host.behind_nginx("shop")
    before = host.snapshot()
    host.systemd.rejected.add("apache2ctl configtest")
    result = host.behind_apache("shop")
    assert "apache2ctl configtest: exit code 1\nline 1 is wrong" in result["msg"]
    assert host.snapshot() == before and host.systemd.said == ["apache2ctl configtest"]


def test_a_units_file_goes_after_the_unit_was_stopped(host: Host) -> None:
    socket = host.units / "shop-port-8080.socket"
    host.write("shop", socket, services=[{"name": "shop-port-8080.socket", "reads": [str(socket)]}])
    assert host.systemd.up == {"shop-port-8080.socket"}
    assert host.write("shop")["services"] == {"shop-port-8080.socket": "stopped"}
    assert host.systemd.said == ["systemctl disable --now shop-port-8080.socket", "systemctl daemon-reload"]
    assert host.systemd.up == host.systemd.enabled == set() and not socket.exists()


def test_a_unit_that_was_stopped_for_nothing_is_started_again(host: Host) -> None:
    socket = host.units / "shop-port-8080.socket"
    services = [{"name": "shop-port-8080.socket", "reads": [str(socket)]}, host.nginx_service()]
    host.write("shop", socket, host.nginx / "sites-enabled/80.conf", services=services)
    before = host.snapshot()
    host.systemd.rejected.add("nginx -t")
    result = host.write("shop", host.nginx / "sites-enabled/81.conf", services=[host.nginx_service()])
    assert result["failed"] and host.snapshot() == before
    assert host.systemd.up == host.systemd.enabled == {"shop-port-8080.socket", "nginx.service"}


def test_a_unit_that_does_not_start_is_forgotten_again(host: Host) -> None:
    socket = host.units / "shop-port-8080.socket"
    host.systemd.broken.add("shop-port-8080.socket")
    assert host.write("shop", socket, services=[{"name": "shop-port-8080.socket"}])["failed"]
    assert not socket.exists() and host.systemd.enabled == set() and not host.owners.exists()
    assert host.systemd.said[-1] == "systemctl daemon-reload"


def test_a_run_that_was_killed_is_put_back_by_that_of_another_owner(host: Host) -> None:
    """It was moving the shop to Apache, and had come as far as it could."""
    host.behind_nginx("shop")
    before = host.snapshot()
    work = host_config_files.Work("shop", [Change(host.apache / "sites-enabled/80.conf", "file", b"80.conf\n")], [Service("apache2.service")])
    killed = Transaction(work.changes, host.journal)
    killed._remember(killed.pending(), host_config_files.Services(FRONTS).before)
    for change in killed.pending():
        change.apply()
    host.systemd.up = host.systemd.enabled = {"apache2.service"}
    assert host.snapshot() != before
    result = host.write("blog", host.etc / "blog.conf")
    assert result["recovered"] and result["changed"]
    assert host.systemd.up == host.systemd.enabled == {"nginx.service"}
    host.write("blog")
    assert host.snapshot() == before


@pytest.mark.parametrize("text", ["", "[]", '{"paths": 7, "services": [7, {"name": 7}]}'])
def test_a_note_that_cannot_be_read_stops_nobody(host: Host, text: str) -> None:
    host.behind_nginx("shop")
    (host.owners / "blog.json").write_text(text)
    assert host.write("shop")["changed"] and not (host.nginx / "flaskops").exists()


def before_ownership(host: Host, sample: str, *there: Path) -> str:
    """Put an app onto the host as 0.1.0 did; returns its name."""
    record = json.loads((SAMPLES / f"{sample}.json").read_text())
    (host.records / f"{record['app']}.json").write_text(json.dumps(record))
    for path in there:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(record["app"])


def legacy_paths(host: Host, sample: str) -> list[Path]:
    """What 0.1.0 had put on a host for an app of this topology."""
    site = "80-wildcard.shop.example-shop.example"
    return {
        "nginx_gunicorn": [
            host.nginx / f"flaskops/{site}/shop.conf",
            host.nginx / f"sites-available/{site}.conf",
            host.nginx / f"sites-enabled/{site}.conf",
            host.units / "shop-port-8080.socket",
            host.units / "shop-port-8080.service",
        ],
        "nginx_uwsgi": [host.nginx / "flaskops/80/basic_flask.conf", host.nginx / "sites-available/80.conf", host.nginx / "sites-enabled/80.conf"],
        "apache_mod_wsgi": [
            host.apache / "flaskops/wsgi/98-flaskapp.conf",
            host.apache / "sites-available/wsgi.conf",
            host.apache / "sites-enabled/wsgi.conf",
            host.apache / "conf-enabled/zz-flaskops.conf",
            *(host.apache / f"mods-enabled/{name}" for name in ("headers.load", "wsgi.conf", "wsgi.load")),
        ],
        "apache_uwsgi_mysql": [
            host.apache / "flaskops/flask/98-flask-app.conf",
            host.apache / "sites-available/flask.conf",
            host.apache / "sites-enabled/flask.conf",
            host.apache / "conf-enabled/zz-flaskops.conf",
            host.apache / "conf-enabled/flaskops-port-8000.conf",
            *(host.apache / f"mods-enabled/{name}" for name in ("headers.load", "proxy.conf", "proxy.load", "proxy_fcgi.load", "proxy_uwsgi.load")),
            *(host.units / f"flask-app-{name}" for name in ("port-8930.socket", "port-8930.service", "php.socket", "php.service")),
        ],
        "dev_server": [host.units / "dev-port-5000.socket", host.units / "dev-port-5000.service"],
        "removed": [],
    }[sample]


LEGACY = ["nginx_gunicorn", "nginx_uwsgi", "apache_mod_wsgi", "apache_uwsgi_mysql", "dev_server", "removed"]


@pytest.mark.parametrize("sample", LEGACY)
def test_what_the_first_version_put_there_is_its_apps(host: Host, sample: str) -> None:
    paths = legacy_paths(host, sample)
    others = [host.nginx / "flaskops/80/shop.conf.bak", host.apache / "mods-enabled/mpm_event.load", host.units / "flask-app-port.service"]
    app = before_ownership(host, sample, *paths, *others)
    found = read_owners()
    assert sorted(found[app].paths) == sorted(map(str, paths))
    services = {"nginx_gunicorn": ["shop-port-8080.socket", "nginx.service"], "apache_mod_wsgi": ["apache2.service"], "removed": []}.get(sample)
    assert services is None or [one.name for one in found[app].services] == services
    host.write(app)
    assert [path for path in paths if path.exists()] == []
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("sample", LEGACY)
def test_a_record_of_the_first_version_may_lack_anything(host: Host, sample: str) -> None:
    app = before_ownership(host, sample, *legacy_paths(host, sample))
    record = json.loads((host.records / f"{app}.json").read_text())
    for key in record:
        for wrong in ({}, {key: None}, {key: 7}, {key: [7]}):
            given = {name: value for name, value in record.items() if name != key}
            (host.records / f"{app}.json").write_text(json.dumps({**given, **wrong}))
            assert set(read_owners()[app].paths) <= set(map(str, legacy_paths(host, sample)))


def test_a_note_wins_over_what_a_record_of_the_first_version_says(host: Host) -> None:
    app = before_ownership(host, "nginx_uwsgi", *legacy_paths(host, "nginx_uwsgi"))
    host.behind_nginx(app)
    assert read_owners()[app].paths == host.note(app)["paths"]
    assert not (host.nginx / "sites-available/80.conf").exists()


def test_a_record_of_today_has_its_paths_in_a_note_alone(host: Host) -> None:
    (host.records / "shop.json").write_text(json.dumps({"format": 2, "app": "shop", "front_role": "nginx_site", "site": "80"}))
    assert read_owners() == {}


def test_a_service_reads_a_file_or_all_below_a_directory() -> None:
    service = Service("nginx.service", reads=["/etc/nginx", "/etc/one.conf"])
    assert service.concerns(Path("/etc/nginx/sites-enabled/80.conf")) and service.concerns(Path("/etc/one.conf"))
    assert not service.concerns(Path("/etc/nginx2/a.conf")) and not service.concerns(Path("/etc/one.conf.d"))
    assert Service("any.service").concerns(Path("/etc/any"))


def test_nothing_owned_is_no_owner() -> None:
    assert not Owned() and Owned(["/etc/a.conf"]) and ownership.OWNERS.is_absolute()
