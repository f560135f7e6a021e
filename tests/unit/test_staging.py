"""How releases are named, what is noted of them, and how the pre-flight judges an app."""

from __future__ import annotations

import base64
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import host_release, preflight, probe, staging
from ansible_collections.flaskops.hosting.plugins.module_utils.mysql_plan import environment_of
from ansible_collections.flaskops.hosting.plugins.module_utils.record import ReleaseFacts
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import Release, ReleaseError, Tree

KEY = b"the host's key"


def plan(tmp_path: Path, **changes: Any) -> staging.Plan:
    """A plan for a release with some options or parts of the payload changed."""
    options = {
        "app": "shop",
        "module": "main:app",
        "build_commands": [],
        "user": "wsgi",
        "group": "wsgi",
        "mount": "/",
        "static": [],
        "shared": [],
        "instances": [{"name": "web", "manager": "systemd", "socket": "run/app.sock", "protocol": "http"}],
        "jobs": [],
        "python": sys.executable,
        "server_requirements": ["gunicorn==27.0.1"],
        "health_path": "/",
        "health_host": "localhost",
        "health_timeout": 30,
        "memory_max": 0,
        "archive": None,
        "commands": [],
    }
    payload = {
        "build": "b" * 64,
        "version": "",
        "manifest": {"main.py": "1234"},
        "requirements": {"key": "flask", "text": "flask"},
        "settings": [{"dest": "app.service", "content": "[Service]\n"}],
        "environment": {"MODE": "live"},
        "secrets": {"KEY": "hunter2"},
        "archive": None,
    }
    for name, value in changes.items():
        (payload if name in payload else options)[name] = value
    return staging.Plan(Tree("shop", tmp_path), options, payload)


def name(a_plan: staging.Plan, key: bytes = KEY) -> str:
    """The release's name."""
    return a_plan.release_name(a_plan.venv_name, key)


def test_the_same_input_has_the_same_name(tmp_path: Path) -> None:
    assert name(plan(tmp_path)) == name(plan(tmp_path)) != ""


@pytest.mark.parametrize(
    "change",
    [
        {"secrets": {"KEY": "hunter3"}},
        {"environment": {"MODE": "test"}},
        {"settings": [{"dest": "app.service", "content": "[Service]\nNice=1\n"}]},
        {"requirements": {"key": "flask==3.1.3", "text": "flask==3.1.3"}},
        {"mount": "/shop"},
        {"build_commands": ["npm ci"]},
        {"static": ["static"]},
        {"instances": [{"name": "web", "manager": "systemd", "socket": "run/app.sock", "protocol": "uwsgi"}]},
        {"instances": [{"name": "web", "manager": "supervisord", "socket": "run/app.sock", "protocol": "http"}]},
        {"instances": [{"name": "web"}, {"name": "rq", "socket": ""}]},
    ],
    ids=str,
)
def test_a_changed_configuration_is_a_new_release_of_the_same_build(tmp_path: Path, change: dict[str, Any]) -> None:
    before, after = name(plan(tmp_path)), name(plan(tmp_path, **change))
    assert before != after
    assert before.split("-")[0] == after.split("-")[0] == "b" * 12


def test_how_health_is_asked_for_is_no_part_of_a_release(tmp_path: Path) -> None:
    assert name(plan(tmp_path, health_timeout=60)) == name(plan(tmp_path))


def test_a_name_reveals_no_secret_without_the_hosts_key(tmp_path: Path) -> None:
    assert name(plan(tmp_path)) != name(plan(tmp_path), key=b"another host's key")


def test_a_venv_is_named_by_requirements_and_python_alone(tmp_path: Path) -> None:
    same = plan(tmp_path, secrets={}, settings=[], build="c" * 64)
    assert same.venv_name == plan(tmp_path).venv_name
    assert plan(tmp_path, requirements={"key": "django", "text": "django"}).venv_name != same.venv_name
    assert plan(tmp_path, server_requirements=["gunicorn==23.0.0"]).venv_name != same.venv_name


def test_a_python_that_does_not_run_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="python: got '/usr/bin/python2', which does not run"):
        _ = plan(tmp_path, python="/usr/bin/python2").venv_name


def test_what_is_noted_and_shown_of_a_release_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "key")
    facts = staging.facts_of(plan(tmp_path), "venv")
    assert "hunter2" not in json.dumps(facts.to_json())
    lines = staging.describe(facts)
    assert any(line.startswith("variable: KEY (") for line in lines)
    assert "file: main.py (1234)\n" in lines


def test_a_name_that_is_no_text_is_shown_in_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible rejects an answer that cannot be written in UTF-8."""
    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "key")
    manifest = {os.fsdecode(b"caf\xe9.txt"): "link " + os.fsdecode(b"\xff"), "ペン": "1234"}
    lines = staging.describe(staging.facts_of(plan(tmp_path, manifest=manifest), "venv"))
    assert {"file: caf\\xe9.txt (link \\xff)\n", "file: ペン (1234)\n"} <= set(lines)


def test_a_dry_run_does_not_make_up_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "etc" / "key")
    assert staging.dry_run(plan(tmp_path))[0].name == "b" * 12 + "-new"
    staging.host_key(create=True)
    shown = staging.dry_run(plan(tmp_path))
    assert shown[0].name == name(plan(tmp_path), key=staging.host_key(create=False))
    assert f"release: {shown[0].name}\n" in shown[1]["after"]


def test_the_hosts_key_is_made_once_and_for_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "etc" / "key")
    assert staging.host_key(create=False) != staging.host_key(create=False)
    made = staging.host_key(create=True)
    assert staging.host_key(create=False) == staging.host_key(create=True) == made
    assert oct(staging.HOST_KEY.stat().st_mode)[-3:] == "600"


def test_settings_may_speak_of_their_release(tmp_path: Path) -> None:
    one = Release(Tree("shop", Path("/srv/shop")), "abc")
    assert staging.in_release(one, "@RELEASE_PATH@/run @RELEASE@") == "/srv/shop/releases/abc/run abc"


ENVIRONMENT_FILE = 'HOST="db.example"\nPASSWORD="a \\"b\\" \\$c\nd"\n'


def secrets_of(paths: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, check_mode: bool = False) -> dict[str, str]:
    """The secrets of the plan that the module makes, given KEY and PASSWORD, MODE in plain view, and these files on the host."""
    made: list[staging.Plan] = []

    def remember(a_plan: staging.Plan) -> tuple[Release, dict[str, str]]:
        made.append(a_plan)
        raise ReleaseError("enough")

    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "key")
    monkeypatch.setattr(staging, "dry_run", remember)
    a_plan = plan(tmp_path, secrets={"KEY": "hunter2", "PASSWORD": "given"})
    payload = base64.b64encode(json.dumps(a_plan.payload).encode()).decode()
    with pytest.raises(ReleaseError, match="enough"):
        host_release.stage({**a_plan.options, "payload": payload, "environment_files": paths}, a_plan.tree, check_mode)
    assert made[0].environment == {**made[0].payload["environment"], **made[0].payload["secrets"]}
    return dict(made[0].payload["secrets"])


DATABASE_URL = "mysql+pymysql://shop_app:hush-hush@localhost/shop?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4"


def test_where_a_database_is_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were, each /srv/shop in what people read would be /srv/<DATABASE_NAME>. What is given as a secret stays one."""
    path = tmp_path / "shop.env"
    path.write_text(environment_of("shop", "shop_app", "hush-hush"))
    found = secrets_of([str(path)], monkeypatch, tmp_path)
    assert found == {"KEY": "hunter2", "PASSWORD": "given", "DATABASE_PASSWORD": "hush-hush", "DATABASE_URL": DATABASE_URL}


def test_files_on_the_host_add_secrets_and_what_is_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.env", tmp_path / "second.env"
    first.write_text(ENVIRONMENT_FILE)
    second.write_text('HOST="db2.example"\nMODE="of the file"\n')
    found = secrets_of([str(first), str(second)], monkeypatch, tmp_path)
    assert found == {"KEY": "hunter2", "PASSWORD": "given", "HOST": "db2.example"}


def test_a_file_on_the_host_is_read_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "database.env"
    path.write_text(ENVIRONMENT_FILE)
    assert staging.read_environment_files([str(path)], may_be_missing=False) == {"HOST": "db.example", "PASSWORD": 'a "b" $c\nd'}


def test_a_name_that_is_the_hosts_is_rejected_in_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "phase.env"
    path.write_text('FLASKOPS_PHASE="worker"\n')
    with pytest.raises(ReleaseError, match="environment_files: FLASKOPS_PHASE begins with FLASKOPS_"):
        staging.read_environment_files([str(path)], may_be_missing=False)


def test_a_missing_file_is_rejected_except_in_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "none.env")
    with pytest.raises(ReleaseError, match=f"environment_files: got '{path}', and there is no such file on this host"):
        staging.read_environment_files([path], may_be_missing=False)
    assert secrets_of([path], monkeypatch, tmp_path, check_mode=True) == {"KEY": "hunter2", "PASSWORD": "given"}


def ask_probe(directory: Path, code: str, *, module: str = "main", name: str = "app", mount: str = "/", path: str = "/") -> dict[str, Any]:
    """Run the pre-flight on a module with this code, as staging does."""
    (directory / "main.py").write_text(code)
    words = [sys.executable, "-", module, name, mount, path, "localhost"]
    ran = subprocess.run(words, input=inspect.getsource(probe), text=True, cwd=directory, check=False, capture_output=True)
    return dict(json.loads((ran.stderr.splitlines() or ['{"ok": null}'])[-1]))


ECHO = """
def app(environ, start_response):
    start_response("200 OK", [])
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == {expected!r}
    return [b"ok"]
"""


def test_a_healthy_app_passes(tmp_path: Path) -> None:
    assert ask_probe(tmp_path, ECHO.format(expected=("", "/", "")))["ok"] is True


def test_the_mount_is_the_script_name(tmp_path: Path) -> None:
    assert ask_probe(tmp_path, ECHO.format(expected=("/shop", "/health", "a=1")), mount="/shop", path="/health?a=1")["ok"] is True


def test_a_factory_is_called(tmp_path: Path) -> None:
    code = ECHO.format(expected=("", "/", "")) + "\ndef create_app():\n    return app\n"
    assert ask_probe(tmp_path, code, name="create_app()")["ok"] is True


def test_threads_of_the_app_do_not_hold_the_pre_flight(tmp_path: Path) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n" + ECHO.format(expected=("", "/", ""))
    assert ask_probe(tmp_path, code)["ok"] is True


@pytest.mark.parametrize(
    "code",
    [
        "import os, threading\nthreading.Timer(2, os._exit, [1]).start()\n",
        "import signal\nsignal.alarm(2)\n",
        "import os, subprocess\nsubprocess.Popen(['sh', '-c', f'sleep 2; kill {os.getpid()}'])\n",
    ],
    ids=["a thread", "a timer", "a child"],
)
def test_what_goes_on_in_the_background_may_not_end_the_process(tmp_path: Path, code: str) -> None:
    assert ask_probe(tmp_path, code + ECHO.format(expected=("", "/", ""))) == {"settling": True}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere", "importing main raised ModuleNotFoundError: No module named 'nowhere'"),
        ("import os\nos.environ['NEEDED']", "importing main raised KeyError: 'NEEDED'"),
        ("import sys\nsys.exit('no settings')", "importing main raised SystemExit: no settings"),
        ("def app():\n    raise LookupError('no database')", "app() raised LookupError: no database"),
        ("application = print", "main has no 'app'; it has application"),
        ("app = 7", "main:app is a int, not a WSGI callable"),
        ("app = 'a string'", "main:app is a str, not a WSGI callable"),
        ("def app(environ, start_response):\n    1 / 0", "/ raised ZeroDivisionError: division by zero"),
        ("def app(e, start):\n    start('500 Oops', [])\n    return []", "/ answered 500 Oops"),
        ("def app(e, start):\n    start('302 Found', [])\n    return []", "/ answered 302 Found"),
        ("def app(e, start):\n    return []", "/ answered no status"),
    ],
)
def test_a_bad_app_is_rejected_with_the_reason(tmp_path: Path, code: str, reason: str) -> None:
    name = "app()" if reason.startswith("app()") else "app"
    assert ask_probe(tmp_path, code, name=name) | {"log": ""} == {"ok": False, "reason": reason, "log": ""}


def test_a_callable_may_be_an_attribute_of_what_the_module_has(tmp_path: Path) -> None:
    code = "class App:\n    def server(self, e, start):\n        start('200 OK', [])\n        return []\napp = App()\n"
    assert ask_probe(tmp_path, code, name="app.server")["ok"] is True
    assert ask_probe(tmp_path, code, name="app.sever")["reason"] == "main:app has no 'sever'"
    assert ask_probe(tmp_path, f"{code}App.inner = 7", name="app.inner")["reason"] == "main:app.inner is a int, not a WSGI callable"


def test_a_factory_may_have_arguments(tmp_path: Path) -> None:
    code = """def create(*words, **more):
    assert (words, more) == (("a.b (c)", -1), {"debug": False, "name": None}), (words, more)
    return lambda environ, start_response: (start_response("200 OK", []), [])[1]
"""
    assert ask_probe(tmp_path, code, name="""create("a.b (c)", -1, debug=False, name=None)""")["ok"] is True
    assert "create('x') raised AssertionError: (('x',), {})" in ask_probe(tmp_path, code, name="create('x')")["reason"]
    assert ask_probe(tmp_path, code, name="made('x')")["reason"] == "main has no 'made'; it has create"


def test_an_app_without_a_health_path_is_only_imported(tmp_path: Path) -> None:
    assert ask_probe(tmp_path, "def app(environ, start_response):\n    raise RuntimeError('asked')", path="")["ok"] is True
    assert ask_probe(tmp_path, "raise RuntimeError('imported')", path="")["ok"] is False


def test_a_thread_that_ends_meanwhile_is_no_fault_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _path: [str(os.getpid()), "4194304"])
    assert probe.children_of("4194304") == "" and probe.goes_on_in_the_background() is True


@pytest.mark.parametrize(("commands", "asked"), [([], "ask_app"), (["flask db upgrade"], "import_app")])
def test_a_release_that_waits_for_commands_is_only_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[str], asked: str) -> None:
    """Its health path may need what they do."""
    done: list[str] = []
    for step in ("claim_root", "make_tree", "unpack_code", "link_venv", "complete_code", "write_settings"):
        monkeypatch.setattr(staging, step, lambda *_arguments: None)
    for step in ("ask_app", "import_app"):
        monkeypatch.setattr(preflight, step, lambda *_arguments, step=step: done.append(step))
    monkeypatch.setattr(staging, "HOST_KEY", tmp_path / "key")
    monkeypatch.setattr(Release, "mark_complete", lambda _release, facts: done.append(str(facts.waits_for_commands)))
    staging.stage(plan(tmp_path, commands=commands))
    assert done == [asked, str(bool(commands))]


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", "7", '{"ok": true}', '{"ok": true, "reason": "x"}', "\udcff", '{"ok": 1, "reason": 2, "log": []}\n{']
)
def test_garbage_is_no_verdict(garbage: str) -> None:
    """The app has the same pipe, and may write there."""
    assert preflight.last_verdict(garbage) == {}


def test_a_verdict_is_of_text() -> None:
    assert preflight.last_verdict('{"settling": true}\n{"ok": false, "reason": 7, "log": [1]}\n') == {"ok": False, "reason": "7", "log": "[1]"}


def test_a_reason_of_any_length_passes_through_the_pipe(tmp_path: Path) -> None:
    found = ask_probe(tmp_path, "raise RuntimeError('\U0001f419\\x01' * 1_000_000)")
    assert found["ok"] is False and found["reason"].startswith("importing main raised RuntimeError: \U0001f419\x01")
    assert found["reason"].endswith("… (over 1024 characters)") and len(found["log"]) == 8192


def test_a_long_reason_holds_no_half_of_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2-and-more")
    found = ask_probe(tmp_path, "import os\nraise RuntimeError(os.environ['KEY'] * 10_000)")
    assert len(found["reason"]) < 1100 and "hunter" not in found["reason"] and "more" not in f"{found['reason']}{found['log'][:200]}"


def test_root_makes_no_shared_directory_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account does: what it has exchanged for a link leads it only to where it may write anyway."""
    made = plan(tmp_path, shared=["media/thumbs"])
    for directory in (tmp_path / "outside", tmp_path / "code", made.tree.shared):
        directory.mkdir()
    (made.tree.shared / "media").symlink_to(tmp_path / "outside")
    asked: list[list[str]] = []

    def refuse(_unit: str, words: list[str], lines: list[str], *_more: object) -> tuple[int, str]:
        assert "User=wsgi" in lines
        asked.append(words)
        return 1, "Permission denied"

    monkeypatch.setattr(staging, "run_in_unit", refuse)
    with pytest.raises(ReleaseError, match="shared: 'media/thumbs' cannot be made in .* as wsgi"):
        staging._link_shared(made, tmp_path / "code", "media/thumbs")
    assert [words[0] for words in asked] == ["mkdir"] and list((tmp_path / "outside").iterdir()) == []


def two_releases(tmp_path: Path, files: dict[str, str]) -> tuple[staging.Plan, Path, Path]:
    """A live release, and one that is being staged from the same files; and their code."""
    made = plan(tmp_path, manifest={name: f"mark of {name}" for name in files})
    old, new = made.tree.release("old"), made.tree.release("new")
    for one in (old, new):
        for name, text in files.items():
            (one.path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
            (one.path / "code" / name).write_text(text)
            os.utime(one.path / "code" / name, (1, 1) if one is old else (2, 2))
    old.mark_complete(ReleaseFacts(files=made.payload["manifest"]))
    made.tree.point_current_to(old)
    return made, old.path / "code", new.path / "code"


def test_files_that_did_not_change_are_those_of_the_live_release(tmp_path: Path) -> None:
    """Then they have their time, too, and browsers need not ask for them again."""
    name = os.fsdecode(b"static/caf\xe9.css")
    made, old, new = two_releases(tmp_path, {"main.py": "app", name: "h1", "x" * 255: ""})
    staging.share_unchanged(made, made.tree.release("new"))
    for path in ("main.py", name, "x" * 255):
        assert (new / path).samefile(old / path) and (new / path).stat().st_mtime == 1
    assert [path.name for path in new.parent.iterdir()] == ["code"]
    made.tree.release("new").discard()
    assert (old / "main.py").read_text() == "app" and (old / "main.py").stat().st_nlink == 1


@pytest.mark.parametrize("change", ["content", "edited on the host", "mode", "kind", "no live release", "a full link"])
def test_what_is_not_as_in_the_live_release_is_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """What is noted is not believed: somebody may have edited the live release."""
    made, old, new = two_releases(tmp_path, {"main.py": "app"})
    if change == "content":
        (new / "main.py").write_text("APP")
        os.utime(new / "main.py", (2, 2))
        made.payload["manifest"]["main.py"] = "another mark"
    elif change == "edited on the host":
        (old / "main.py").write_text("APP")
    elif change == "mode":  # such as of files that a front serves from now on
        (new / "main.py").chmod(0o604)
    elif change == "kind":
        (old / "main.py").rename(old / "other.py")
        (old / "main.py").symlink_to("other.py")
    elif change == "no live release":
        made.tree.current.unlink()
    else:  # a file can have 65,000 names

        def refuse(*_given: object) -> None:
            raise OSError(31, "Too many links")

        monkeypatch.setattr(os, "link", refuse)
    before = (new / "main.py").read_text()
    staging.share_unchanged(made, made.tree.release("new"))
    found = (new / "main.py").stat()
    assert (found.st_nlink, found.st_mtime, (new / "main.py").read_text()) == (1, 2, before)


def test_no_file_in_a_shared_directory_becomes_one_of_a_release(tmp_path: Path) -> None:
    """The account can exchange what is there."""
    made, old, new = two_releases(tmp_path, {"uploads/.keep": ""})
    for code in (old, new):
        (code / "uploads").rename(made.tree.root / f"shared-{code.parent.name}")
        (code / "uploads").symlink_to(made.tree.root / f"shared-{code.parent.name}")
    staging.share_unchanged(made, made.tree.release("new"))
    assert (new / "uploads/.keep").stat().st_nlink == 1
    (new / "uploads").unlink()
    (new / "uploads").mkdir()
    (new / "uploads/.keep").touch()
    staging.share_unchanged(made, made.tree.release("new"))
    assert (new / "uploads/.keep").stat().st_nlink == 1


def test_what_the_front_serves_is_below_no_link_out_of_the_code(tmp_path: Path) -> None:
    """Root would change modes there, of what an account can exchange."""
    for directory in ("code", "shared"):
        (tmp_path / directory).mkdir()
    (tmp_path / "shared/private").touch(0o600)
    (tmp_path / "code/media").symlink_to(tmp_path / "shared")
    with pytest.raises(ReleaseError, match="static: 'media' is below a link to .*/shared, outside of the code"):
        staging._open_to_front(tmp_path / "code", "media")
    assert (tmp_path / "shared/private").stat().st_mode & 0o777 == 0o600


def test_an_app_that_kills_its_process_gives_no_verdict(tmp_path: Path) -> None:
    assert ask_probe(tmp_path, "import os\nos._exit(3)")["ok"] is None


def test_what_an_app_prints_is_no_verdict(tmp_path: Path) -> None:
    assert ask_probe(tmp_path, "print('{\"ok\": true}')\nimport nowhere")["ok"] is False
