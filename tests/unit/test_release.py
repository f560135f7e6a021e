"""What the module release notes of an app, and what it removes: what is noted as the app's, and nothing else."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flaskops.hosting.plugins.module_utils import activation, host_config_files, host_release, release_tree, staging, transaction
from ansible_collections.flaskops.hosting.plugins.module_utils.instance import Instance
from ansible_collections.flaskops.hosting.plugins.module_utils.instance_systemd import SystemdInstance
from ansible_collections.flaskops.hosting.plugins.module_utils.record import NotedInstance, Record
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, Tree
from ansible_collections.flaskops.hosting.tests.unit.releases import noted

SAMPLES = Path(__file__).parent / "records" / "0.1.0"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """An app of which nothing is there, on a host of which nothing is real."""
    monkeypatch.setattr(release_tree, "RECORDS", tmp_path / "etc/apps")
    monkeypatch.setattr(release_tree, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(activation, "active_instances", lambda _tree: [])
    monkeypatch.setattr(SystemdInstance, "active", classmethod(lambda _class, instances: list(instances)))
    monkeypatch.setattr(SystemdInstance, "forget", staticmethod(lambda _tree: None))
    return Tree("shop", tmp_path / "srv/shop")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances that were stopped."""
    found: list[str] = []
    monkeypatch.setattr(SystemdInstance, "stop", lambda one: found.append(one.name))
    return found


def claim(tree: Tree) -> None:
    """Note whose directory it is, as staging does."""
    staging.claim_root(staging.Plan(tree, {"user": "shop", "group": "shop"}, {}))


def make(tree: Tree, data: bool = False) -> None:
    """Put all into the app's directory that is ever made there."""
    claim(tree)
    tree.release("one").path.mkdir(parents=True)
    tree.release("one").mark_complete(noted())
    tree.venvs.mkdir()
    tree.shared.mkdir()
    if data:
        (tree.shared / "upload.png").touch()
    tree.maintenance.touch()
    tree.out_of_balancer.touch()
    tree.current.symlink_to("releases/one")
    tree.fresh_current.symlink_to("releases/one")


def remove(tree: Tree, check: bool = False, data: bool = False) -> dict[str, Any]:
    """Remove the app."""
    return host_release.remove({"remove_data": data}, tree, check)


def record_of(tree: Tree) -> Record:
    """What is noted of the app."""
    found = Record.read(tree.app, tree.record.parent)
    assert found
    return found


def test_an_app_is_on_record_before_anything_of_it_is_made(tree: Tree) -> None:
    claim(tree)
    assert record_of(tree) == Record("shop", str(tree.root), "shop", "shop", made_root=True)
    assert not tree.root.exists()


def test_a_directory_that_was_there_is_taken_if_it_is_empty_and_stays(tree: Tree) -> None:
    tree.root.mkdir(parents=True)
    make(tree)
    assert not record_of(tree).made_root
    remove(tree)
    assert tree.root.is_dir() and list(tree.root.iterdir()) == [] and not tree.record.exists()


def test_a_directory_that_holds_somebody_elses_files_is_rejected(tree: Tree) -> None:
    (tree.root / "bin").mkdir(parents=True)
    (tree.root / "x.txt").touch()
    with pytest.raises(ReleaseError) as error:
        claim(tree)
    assert str(error.value) == f"root: {tree.root} holds files that are not this app's (bin, x.txt); give the app a directory of its own"
    assert not tree.record.exists() and (tree.root / "x.txt").exists()


def test_a_run_that_died_early_goes_on_where_it_was(tree: Tree) -> None:
    claim(tree)
    (tree.releases / "half").mkdir(parents=True)
    claim(tree)
    assert record_of(tree).made_root


def test_an_app_that_is_somewhere_else_is_not_moved(tree: Tree) -> None:
    make(tree)
    before = record_of(tree)
    with pytest.raises(ReleaseError, match=f"root: got '/srv/other', but shop is in {tree.root}; remove it there first, or keep that directory"):
        claim(Tree("shop", Path("/srv/other")))
    assert record_of(tree) == before


def test_what_was_put_there_by_the_first_version_is_the_apps(tree: Tree) -> None:
    given = json.loads((SAMPLES / "nginx_gunicorn.json").read_text())
    tree.record.parent.mkdir(parents=True)
    tree.record.write_text(json.dumps({**given, "root": str(tree.root)}))
    (tree.root / "releases").mkdir(parents=True)
    claim(tree)
    assert record_of(tree).topology == "nginx_gunicorn"
    remove(tree)
    assert not tree.root.exists() and not tree.record.exists()


def test_removing_takes_all_that_was_made(tree: Tree) -> None:
    make(tree)
    before = sorted(tree.root.iterdir())
    planned = remove(tree, check=True)
    assert planned["changed"] and sorted(tree.root.iterdir()) == before
    assert remove(tree) == planned
    assert not tree.root.exists() and not tree.record.exists()
    assert remove(tree) == {"kept": [], "changed": False, "diff": {"before": "", "after": ""}}


def test_removing_leaves_what_is_somebody_elses(tree: Tree) -> None:
    make(tree)
    (tree.root / "notes.txt").touch()
    assert str(tree.root) not in remove(tree)["diff"]["before"].splitlines()
    assert [path.name for path in tree.root.iterdir()] == ["notes.txt"] and not tree.record.exists()


def test_nothing_is_removed_that_is_not_on_record(tree: Tree) -> None:
    (tree.root / "releases/bin").mkdir(parents=True)
    assert not remove(tree)["changed"]
    tree.record.parent.mkdir(parents=True)
    tree.record.write_text("{")
    assert not remove(tree)["changed"]
    assert (tree.root / "releases/bin").is_dir()


def test_the_record_says_where_the_app_is(tree: Tree) -> None:
    make(tree)
    given = Tree("shop", tree.root.parent / "tools")
    (given.root / "releases").mkdir(parents=True)
    assert remove(given)["changed"]
    assert given.releases.is_dir() and not tree.root.exists()


def test_data_is_kept_on_record_until_it_may_go(tree: Tree) -> None:
    make(tree, data=True)
    assert remove(tree)["kept"] == [str(tree.shared)]
    assert record_of(tree) == Record("shop", str(tree.root), "shop", "shop", "removed", made_root=True)
    assert [path.name for path in tree.root.iterdir()] == ["shared"]
    assert remove(tree)["changed"] is False
    assert remove(tree, data=True)["changed"] is True
    assert not tree.root.exists() and not tree.record.exists()


def test_an_instance_whose_release_was_removed_by_hand_is_stopped(tree: Tree, stopped: list[str]) -> None:
    """It is the app's because the record names it, and one that is only named like it is not."""
    make(tree)
    units = ["shop@gone.service", "shop@one.service", "shop@worker1", "blog@gone.service", ""]
    tree.note(replace(record_of(tree), instances=[NotedInstance(unit=unit) for unit in units]))
    remove(tree)
    assert stopped == ["shop@gone.service"]


def live(tree: Tree, monkeypatch: pytest.MonkeyPatch, **record: Any) -> dict[str, Any]:
    """Make release one live."""
    monkeypatch.setattr(activation, "is_live", lambda *_given: False)
    monkeypatch.setattr(activation, "activate", lambda *_more: [])
    options = {"state": "live", "release": "one", "front": None, "keep": 5, "by": "ada@laptop", "record": record or None}
    return host_release.make_live(options, tree, False)


def test_going_live_completes_the_record(tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str]) -> None:
    make(tree)
    given = Record("another", "/elsewhere", "shop", "shop", "nginx_gunicorn", instances=[NotedInstance(), NotedInstance("rq")]).to_json()
    live(tree, monkeypatch, **given)
    found = record_of(tree)
    assert (found.app, found.root, found.made_root, found.topology) == ("shop", str(tree.root), True, "nginx_gunicorn")
    assert [one.unit for one in found.instances] == ["shop@one.service", ""]
    live(tree, monkeypatch)
    assert record_of(tree) == found, "without a record, what was noted stays"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"state": "live"}, "state is live but any of the following are missing: release, source"),
        ({"state": "live", "source": "/app", "payload": "e30="}, "missing parameter(s) required by 'source': module"),
        ({"state": "live", "source": "/app", "payload": "e30=", "module": "main:app"}, ""),
        ({"state": "live", "release": "one"}, ""),
    ],
)
def test_what_is_to_go_live_must_be_named(given: dict[str, Any], error: str) -> None:
    """By the options that a user knows."""
    required = {"required_if": host_release.REQUIRED_IF, "required_by": host_release.REQUIRED_BY}
    checked = ArgumentSpecValidator(deepcopy(host_release.ARGUMENTS), **required).validate({"app": "shop", "root": "/srv/shop", **given})
    assert "; ".join(checked.error_messages) == error


@pytest.mark.parametrize("named", [True, False])
def test_a_release_that_is_given_by_its_source_is_staged_first(tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str], named: bool) -> None:
    """One result has what both have done."""
    make(tree)
    staged: dict[str, Any] = {"archive_needed": True, "changed": False}
    monkeypatch.setattr(host_release, "stage", lambda *_given: pytest.fail("it is on the host") if named else staged)
    monkeypatch.setattr(activation, "is_live", lambda *_given: False)
    monkeypatch.setattr(activation, "activate", lambda *_more: ["switched current: 0.0 s"])
    options = {"state": "live", "release": "one" if named else None, "front": None, "keep": 5, "by": "ada@laptop", "record": None}
    if not named:
        assert host_release.go_live(options, tree, False) == staged and not tree.release("one").went_live(), "the code is asked for first"
        staged = {
            "release": "one",
            "build": "0fcd",
            "changed": True,
            "diff": {"before": "", "after": "file: main.py\n"},
            "steps": ["laid down the code: 0.1 s"],
        }
    result = host_release.go_live(options, tree, False)
    assert tree.release("one").went_live() and (result["release"], result["changed"], result["previous"]) == ("one", True, "one")
    assert result["steps"] == [*staged.get("steps", []), "switched current: 0.0 s"]
    switched = {"before": f"{tree.current} -> one\n", "after": f"{tree.current} -> one\n"}
    assert result["diff"] == (switched if named else [staged["diff"], switched])


@pytest.mark.parametrize(
    ("differs", "settled"),
    [("nothing", True)] + [(one, False) for one in ("live", "record", "file", "mode", "service", "options", "killed", "not asked")],
)
def test_a_release_is_settled_if_no_later_task_would_change_anything(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str], tmp_path: Path, differs: str, settled: bool
) -> None:
    """Whatever differs, a run goes on to the tasks that put it right."""
    make(tree)
    record = Record(topology="nginx_gunicorn", instances=[NotedInstance()]).to_json()
    live(tree, monkeypatch, **record)
    site, journal = tmp_path / "site.conf", tmp_path / "transaction"
    site.write_text("listen 81;\n" if differs == "file" else "listen 80;\n")
    site.chmod(0o600 if differs == "mode" else 0o644)
    monkeypatch.setattr(host_config_files, "JOURNAL", journal)
    monkeypatch.setattr(transaction, "_owner_names", lambda _found: ("root", "root"))
    states = {"ActiveState": "inactive" if differs == "service" else "active", "UnitFileState": "enabled"}
    monkeypatch.setattr(host_config_files, "unit_properties", lambda *_names: states)
    monkeypatch.setattr(activation, "is_live", lambda *_given: differs != "live")
    if differs == "killed":
        journal.mkdir()
        (journal / "index.json").write_text('{"note": {}, "paths": []}')
    files = [{"dest": str(site), "content": "listen 80;\n", **({"state": "gone"} if differs == "options" else {})}]
    configuration = {"files": files, "services": [{"name": "nginx.service"}]}
    options = {"record": {**record, "topology": "nginx_uwsgi"} if differs == "record" else record, "release": None}
    assert host_release.is_settled(tree.release("one"), options, {} if differs == "not asked" else configuration) is settled


def test_a_release_that_fails_or_is_gone_back_from_is_not_on_record(tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str]) -> None:
    """The record names what serves, so that the next run finds nothing to change."""
    make(tree)
    live(tree, monkeypatch, **Record(instances=[NotedInstance()]).to_json())
    serving = record_of(tree)
    tree.point_current_to(tree.release("one"))
    tree.release("two").path.mkdir()
    tree.release("two").mark_complete(noted())

    def fail(*_more: Any) -> None:
        raise ReleaseError("502")

    monkeypatch.setattr(activation, "activate", fail)
    options = {"state": "live", "release": "two", "front": None, "keep": 5, "by": "ada@laptop", "record": serving.to_json()}
    with pytest.raises(ReleaseError, match="502"):
        host_release.make_live(options, tree, False)
    assert record_of(tree) == serving
    monkeypatch.setattr(activation, "activate", lambda *_more: [])
    tree.point_current_to(tree.release("two"))
    tree.release("one").mark_live("bob@desk")
    monkeypatch.setattr(activation, "prune", lambda *_given: pytest.fail("who goes back may want to go further back"))
    host_release.make_live({**options, "state": "rolled_back", "release": "one", "record": None}, tree, False)
    assert record_of(tree).instances[0].unit == "shop@one.service"


def test_who_made_a_release_live_is_noted(tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str]) -> None:
    """Going back to it changes who did it, and not its place in the order. Older notes do not say."""
    make(tree)
    one = tree.release("one")
    assert (one.went_live(), one.made_live_by()) == (0, "")
    (one.path / "live.json").write_text('{"live": 1.5}')
    assert (one.went_live(), one.made_live_by()) == (1.5, "")
    one.mark_live("ada@laptop", back=True)
    assert (one.went_live(), one.made_live_by()) == (1.5, "ada@laptop")
    live(tree, monkeypatch)
    assert one.went_live() > 1.5


def test_nothing_is_restarted_if_nothing_is_live(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"state": "restarted", "front": None}
    with pytest.raises(ReleaseError, match="nothing can be restarted"):
        host_release.restart(options, tree, False)
    make(tree)
    tree.point_current_to(tree.release("one"))
    monkeypatch.setattr(activation, "restart", lambda one, _front: [one.name])
    assert host_release.restart(options, tree, True) == {"release": "one", "changed": True}
    assert host_release.restart(options, tree, False)["steps"] == ["one"]


def test_nobody_goes_back_to_what_failed_or_is_not_there(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree)
    live(tree, monkeypatch)
    tree.release("two").path.mkdir()
    tree.release("two").mark_failed("no queue", "")
    for name, words in (("two", "which failed before; stage it again"), ("three", "which is not staged on this host")):
        options = {"state": "rolled_back", "release": name, "front": None, "keep": 5, "by": "ada@laptop", "record": None}
        with pytest.raises(ReleaseError, match=f"^release: got '{name}', {words}$"):
            host_release.make_live(options, tree, False)


def test_mod_wsgis_processes_have_no_unit(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree)
    tree.release("one").mark_complete(noted("apache", socket=""))
    live(tree, monkeypatch, **Record(instances=[NotedInstance(manager="apache")]).to_json())
    assert record_of(tree).instances == [NotedInstance(manager="apache")]


def test_going_live_stops_what_ran_of_a_release_that_is_gone(tree: Tree, monkeypatch: pytest.MonkeyPatch, stopped: list[str]) -> None:
    make(tree)
    tree.note(replace(record_of(tree), instances=[NotedInstance(unit="shop@gone.service")]))
    live(tree, monkeypatch, **record_of(tree).to_json())
    assert stopped == ["shop@gone.service"] and record_of(tree).instances[0].unit == "shop@one.service"


def test_every_manager_keeps_to_the_protocol(tree: Tree) -> None:
    for manager in activation.MANAGERS.values():
        missing = [name for name in vars(Instance) if not name.startswith("_") and not hasattr(manager, name)]
        assert set(missing) <= {"release", "facts"}, manager
        assert list(manager.__dataclass_fields__) == ["release", "facts"]
