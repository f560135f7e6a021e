"""The module config_files on its own: files go onto the host together and tested, or not at all."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import Play, Target, differences

ADDRESS = "198.18.2.100"
PLAYBOOK = Path(__file__).resolve().parent / "playbooks/config_files.yml"
PLACE = "/etc/tried"
# A server of no importance that counts how often it was started and reloaded.
UNIT = """[Service]
Type=exec
ExecStartPre=/bin/sh -c 'test ! -e /etc/tried/refuse'
ExecStart=/bin/sleep infinity
ExecReload=/bin/sh -c 'echo reload >>/root/reloads; test ! -e /etc/tried/refuse'

[Install]
WantedBy=multi-user.target
"""
FILES = """
echo old >old.conf
chmod 640 old.conf
chown ubuntu:adm old.conf
touch -d 2020-02-02 old.conf
ln -s old.conf link
echo kept >folder/inner/deep.conf
chmod 600 folder/inner/deep.conf
chmod 710 folder
chown -R ubuntu:ubuntu folder
ln -s nowhere folder/dangling
echo whole >replaced.conf
"""


@pytest.fixture
def host(target: Target) -> Target:
    """A target with files of every sort in one place, which a test may write over; the server is not running."""
    target.run("systemctl disable --now --quiet tried", check=False)
    target.run(f"rm -rf {PLACE} /root/reloads /var/lib/flaskops /etc/flaskops/owners/tried.*")
    target.run(f"sh -e -c 'mkdir -p {PLACE}/folder/inner; cd {PLACE}; sh -e'", stdin=FILES)
    target.run("cat >/etc/systemd/system/tried.service && systemctl daemon-reload", stdin=UNIT)
    return target


EVERYTHING = [
    {"dest": f"{PLACE}/old.conf", "content": "new\n"},
    {"dest": f"{PLACE}/replaced.conf", "content": "new\n", "mode": "0600", "owner": "ubuntu", "group": "adm"},
    {"dest": f"{PLACE}/made/on/the/way/new.conf", "content": "ペン\n"},
    {"link": f"{PLACE}/link", "to": "replaced.conf"},
    {"dest": f"{PLACE}/folder", "state": "absent"},
    {"link": f"{PLACE}/another", "to": "made"},
]


def one(
    files: list[dict[str, Any]] | None = None, test: str = "", service: str = "", on_change: str = "reloaded", owner: str = "", name: str = "write"
) -> dict[str, Any]:
    """The module's arguments, and a name. A test, or a service, is one of the server of no importance."""
    services = [{"name": "tried.service", "test": test, "on_change": on_change}] if test or service else []
    return {"files": EVERYTHING if files is None else files, "services": services, "owner": owner, "name": name}


def write(host: Target, *arguments: str, **settings: Any) -> Play:
    """Run the module."""
    return write_each(host, [one(**settings)], *arguments)


def write_each(host: Target, writes: list[dict[str, Any]], *arguments: str) -> Play:
    """Run the module several times in one run."""
    return host.play(None, *arguments, playbook=PLAYBOOK, variables={"writes": writes})


def test_all_is_written_and_a_second_run_finds_it_so(host: Target) -> None:
    """Contents, modes, owners, links and removals in one task; nothing else is left behind."""
    play = write(host)
    assert (play.returncode, play.recap["changed"]) == (0, 1), play.output
    assert host.run(f"cat {PLACE}/old.conf {PLACE}/made/on/the/way/new.conf") == "new\nペン"
    assert host.run(f"stat -c '%a %U:%G' {PLACE}/old.conf {PLACE}/replaced.conf").splitlines() == ["644 root:root", "600 ubuntu:adm"]
    assert host.run(f"readlink {PLACE}/link {PLACE}/another").split() == ["replaced.conf", "made"]
    assert host.run(f"cd {PLACE} && find . | sort").split() == [
        ".", "./another", "./link", "./made", "./made/on", "./made/on/the", "./made/on/the/way",
        "./made/on/the/way/new.conf", "./old.conf", "./replaced.conf",
    ]  # fmt: skip
    assert host.run("ls /var/lib/flaskops") == "transaction.lock"
    before = host.snapshot()
    assert write(host).recap["changed"] == 0
    assert differences(before, host.snapshot()) == {}


def test_all_is_put_back_when_the_test_fails(host: Target) -> None:
    """The test has seen the new files, and what it says is shown; afterwards all are the old ones, times included."""
    before = host.snapshot(PLACE)
    seen = f"sh -c 'cat {PLACE}/old.conf {PLACE}/made/on/the/way/new.conf; ls {PLACE}; echo the server says no; exit 7'"
    play = write(host, test=seen)
    assert play.returncode == 2 and play.recap["changed"] == 0
    assert "new\n" in play.output and "ペン" in play.output and "another" in play.output
    assert "the server says no" in play.output and "exit code 7" in play.output
    assert differences(before, host.snapshot(PLACE)) == {}
    assert host.run("cat /etc/tried/folder/inner/deep.conf") == "kept"
    assert host.run("ls /var/lib/flaskops") == "transaction.lock"


def test_service_that_refuses_puts_all_back(host: Target) -> None:
    """The server's test may say yes and its reload no: then the old files are back too, and the server runs."""
    host.run("systemctl enable --now --quiet tried")
    before, pid = host.snapshot(PLACE), host.run("systemctl show --property=MainPID --value tried")
    play = write(host, files=[*EVERYTHING, {"dest": f"{PLACE}/refuse", "content": ""}], service="tried.service")
    assert play.returncode == 2 and "tried.service" in play.output
    assert differences(before, host.snapshot(PLACE)) == {}
    assert host.run("systemctl is-active tried") == "active"
    assert host.run("systemctl show --property=MainPID --value tried") == pid


def test_service_is_started_then_reloaded_then_restarted(host: Target) -> None:
    """One start, one reload for all files, and a restart if that is requested."""
    assert write(host, service="tried.service").returncode == 0
    assert host.run("systemctl is-active tried; systemctl is-enabled tried").split() == ["active", "enabled"]
    assert not host.succeeds("test -e /root/reloads")
    changed = [{"dest": f"{PLACE}/old.conf", "content": "newer\n"}, {"dest": f"{PLACE}/more.conf", "content": ""}]
    assert write(host, files=changed, service="tried.service").recap["changed"] == 1
    assert host.run("cat /root/reloads") == "reload"
    pid = host.run("systemctl show --property=MainPID --value tried")
    assert write(host, files=[{**changed[0], "content": "newest\n"}], service="tried.service", on_change="restarted").returncode == 0
    assert host.run("systemctl show --property=MainPID --value tried") != pid


def test_dry_run_shows_all_and_touches_nothing(host: Target) -> None:
    """The diff of the dry run is the diff of the run; a secret's text is in neither."""
    files: list[dict[str, Any]] = [*EVERYTHING, {"dest": f"{PLACE}/token", "content": "hush-hush\n", "secret": True, "mode": "0600"}]
    before = host.snapshot()
    dry = write(host, "--check", "--diff", files=files)
    assert (dry.returncode, dry.recap["changed"]) == (0, 1)
    assert differences(before, host.snapshot()) == {}
    assert dry.diffs == {entry.get("dest") or entry["link"] for entry in files}
    for line in ("-old", "+new", "+ペン", "+# ubuntu:adm 0600", "-link to old.conf", "+link to replaced.conf", f"-{PLACE}/folder/inner/deep.conf"):
        assert f"\n{line}\n" in dry.output, line
    real = write(host, "--diff", files=files)
    assert real.shown_by("Write the files") == dry.shown_by("Write the files")
    assert "hush-hush" not in dry.output + real.output and host.run(f"cat {PLACE}/token") == "hush-hush"


def test_killed_run_is_put_back_by_the_next(host: Target) -> None:
    """The module is killed while the server tests its files; the next run starts from the state before."""
    before = host.snapshot(PLACE)
    play = write(host, test="sh -c 'kill -9 $PPID'")
    assert play.returncode == 2
    assert host.run(f"cat {PLACE}/old.conf") == "new", "the killed run left its files, or this test would show nothing"
    index = json.loads(host.run("cat /var/lib/flaskops/transaction/index.json"))
    assert [f"{PLACE}/old.conf", "file", "0"] in index["paths"]
    assert host.run("stat -c '%a %U' /var/lib/flaskops /var/lib/flaskops/transaction").splitlines() == ["700 root", "700 root"]
    dry = write(host, "--check", files=[])
    assert dry.returncode == 0 and host.succeeds("test -d /var/lib/flaskops/transaction"), "a dry run repairs nothing"
    play = write(host, files=[])
    assert (play.returncode, play.recap["changed"]) == (0, 1)
    assert differences(before, host.snapshot(PLACE)) == {}


NONSENSE = {
    "nobody-here": {"dest": f"{PLACE}/x", "content": "x", "owner": "nobody-here"},
    "link, to": {"link": f"{PLACE}/x"},
    "dest, link": {"content": "x"},
}


def test_entry_that_makes_no_sense_is_refused(host: Target) -> None:
    """Together with right ones, none is written."""
    before = host.snapshot(PLACE)
    play = write_each(host, [one(files=[EVERYTHING[0], entry], name=f"no. {number}") for number, entry in enumerate(NONSENSE.values())])
    assert play.returncode == 2
    for number, words in enumerate(NONSENSE):
        failed = play.output.partition(f"(item=no. {number})")[2].partition("(item=")[0]
        assert words in failed, play.output
    assert differences(before, host.snapshot(PLACE)) == {}


def test_two_runs_at_once_wait_for_one_another(host: Target) -> None:
    """While one run tests its files, another one on the host waits, so that neither puts back the other's."""
    lock = shlex.quote("import fcntl, time; f = open('/var/lib/flaskops/transaction.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(4)")
    host.run("mkdir -p /var/lib/flaskops")
    host.run(f"systemd-run --quiet --collect python3 -c {lock}; sleep 0.3")
    began = float(host.run("date +%s.%N"))
    assert write(host).returncode == 0
    assert float(host.run(f"stat -c %.9Y {PLACE}/old.conf")) - began > 2


A, B, SHARED = ({"dest": f"{PLACE}/owned/{name}.conf", "content": name} for name in ("a", "b", "both/shared"))


def owned(host: Target) -> list[str]:
    """What the owners have put there."""
    return host.run(f"ls {PLACE}/owned 2>/dev/null || true").split()


def test_what_an_owner_names_no_more_goes_with_its_last_owner(host: Target) -> None:
    """Files, and the directory that was made for them; what nobody has noted stays, whatever its name."""
    steps = [one([A, SHARED], owner="tried.a"), one([B, SHARED], owner="tried.b"), one([A], owner="tried.a")]
    assert write_each(host, steps).output.count("\nchanged: ") == 3
    assert owned(host) == ["a.conf", "b.conf", "both"], "the other owner names it still"
    dry = write(host, "--check", "--diff", files=[], owner="tried.b")
    assert f"{PLACE}/owned/both/shared.conf" in dry.diffs and f"{PLACE}/owned/b.conf" in dry.diffs and f"{PLACE}/owned/a.conf" not in dry.diffs
    assert write(host, files=[], owner="tried.b").recap["changed"] == 1
    assert owned(host) == ["a.conf"]
    host.run(f"touch {PLACE}/owned/b.conf")  # somebody's own now
    assert write(host, files=[], owner="tried.a").recap["changed"] == 1
    assert owned(host) == ["b.conf"] and not host.succeeds("ls /etc/flaskops/owners/tried.*")


def test_a_rejected_change_leaves_what_is_noted_as_it_was(host: Target) -> None:
    """Neither the files nor the note of whose they are; a command that is not installed is a test that fails."""
    assert write(host, files=[A], owner="tried.a").returncode == 0
    before = host.snapshot(PLACE, "/etc/flaskops")
    play = write(host, files=[B], owner="tried.a", test="no-such-server -t")
    assert play.returncode == 2 and "no-such-server: not installed" in play.output
    assert differences(before, host.snapshot(PLACE, "/etc/flaskops")) == {}


def test_a_service_goes_with_its_last_owner(host: Target) -> None:
    """It is reloaded as long as another owner has it, and stopped before its unit's file goes."""
    unit = {"dest": "/etc/systemd/system/tried.service", "content": UNIT}
    host.run("rm /etc/systemd/system/tried.service && systemctl daemon-reload")  # else it would be given back
    steps = [one([unit], service="tried.service", owner="tried.a"), one([unit], service="tried.service", owner="tried.b"), one([], owner="tried.a")]
    assert write_each(host, steps).returncode == 0
    assert host.run("systemctl is-active tried") == "active"
    assert write(host, files=[], owner="tried.b").returncode == 0
    assert host.run("systemctl is-active tried; systemctl is-enabled tried || true", check=False).split()[0] == "inactive"
    assert not host.succeeds("test -e /etc/systemd/system/tried.service")
