"""What hosts return is shown, and never run: plays with modules whose every answer is a template and has control characters."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["host_part", "mysql_database"]
# Answers as the file beside it says, by the module whose part it is, and by the state that was asked for.
FAKE = """#!/usr/bin/python
import json, pathlib, sys
from ansible.module_utils.basic import _load_params
if __name__ == "__main__":
    given = _load_params()
    options = given.get("options", given)
    answer = json.loads(pathlib.Path({answers!r}).read_text())[given.get("module") or "mysql_database"][options.get("state") or ""]
    missing = set(answer.get("packages_missing", [])) & set(options.get("packages", []))
    print(json.dumps({{**answer, "packages_missing": sorted(missing)}}))
    sys.exit()
"""


class Hostile:
    """A host that answers with templates, and a controller whose modules are replaced by such answers."""

    def __init__(self, work: Path) -> None:
        self.work, self.mark = work, work / "mark"
        self.given = {"flask_app_name": "shop", "remove_database": "shop", "maintenance": "on", "command": "true"}
        self.payload = f"{{{{ lookup('pipe', 'touch {self.mark}') }}}}\x1b]0;owned\x07: [\n- \x9b2J"
        self.collection = work / "collections/ansible_collections/flaskops/hosting"
        for name in ("meta", "playbooks", "plugins", "roles"):
            shutil.copytree(ROOT / name, self.collection / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", self.collection)
        for module in MODULES:
            (self.collection / f"plugins/modules/{module}.py").write_text(FAKE.format(answers=str(work / "answers.json")))
        (work / "shop").mkdir()
        (work / "shop/main.py").write_text("app = None\n")
        (work / "inventory.yml").write_text(yaml.safe_dump(self.inventory()))

    def inventory(self, *more: str) -> dict[str, Any]:
        """This machine as a host, or as several, with an app and a database."""
        app = {"flask_app_name": "shop", "flask_app_source": str(self.work / "shop"), "flask_app_requirements": "", "flask_app_root": "/srv/nobodys"}
        variables = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable, "flask_apps": [app]}
        return {"nginx_gunicorn": {"hosts": dict.fromkeys(("web1", *more), {**variables, "mysql_webapp_database": "shop"})}}

    def filled(self, module: str, **facts: Any) -> dict[str, Any]:
        """A module's answer as its page says, with the payload in each text, and with what the run must know to go on."""
        page = (ROOT / f"plugins/modules/{module}.py").read_text().split('RETURN = r"""')[1].split('"""')[0]
        found = {name: self.spoilt(one["sample"]) for name, one in yaml.safe_load(page).items()}
        found["diff"] = {"before": self.payload, "after": self.payload}
        return {**found, "changed": True, "warnings": [self.payload], **facts}

    def spoilt(self, value: Any) -> Any:
        """The payload in place of each text."""
        if isinstance(value, list):
            return [self.spoilt(one) for one in value]
        if isinstance(value, dict):
            return {name: self.spoilt(one) for name, one in value.items()}
        return self.payload if isinstance(value, str) else value

    def app(self, **known: str) -> dict[str, Any]:
        """An app as the survey shows it."""
        texts = ("app", "root", "topology", "user", "group", "url", "mount", "live", "live_since", "health", "follow", "previous")
        release = {**dict.fromkeys(("name", "version", "created", "live", "by"), self.payload), "failed": "", "fits": True}
        failed = {**release, "failed": self.payload}
        front = {"address": self.payload, "host": self.payload}
        more = {
            "databases": [self.payload],
            "maintenance": True,
            "front": front,
            "log": [self.payload],
            "releases": [release, failed],
            "processes": {self.payload: self.payload},
            "certificate": {"days": 9, **dict.fromkeys(("issuer", "expires", "next", "error"), self.payload)},
            "database_certificate": {"days": 9, **dict.fromkeys(("issuer", "expires", "next", "error"), self.payload)},
        }
        return {**dict.fromkeys(texts, self.payload), **more, **known}

    def answer(self, **release: dict[str, Any]) -> None:
        """Say what the modules answer; a state of the release may have an answer of its own."""
        apps = {"shop": self.app(app="shop", root="/srv/nobodys", topology="nginx_gunicorn"), self.payload: self.app()}
        account = {"user": True, "group": True, "ours": True, "foreign": False}
        known: dict[str, Any] = {"account": account, "packages_missing": ["mysql-server"], "package_lists": True}
        host = a_host(**known, apps=apps, owned_paths=[self.payload], databases=["shop", self.payload])
        states = ("staged", "live", "rolled_back", "restarted", "run", "absent")
        answers = {
            "survey": {"": self.filled("survey", **host)},
            "config_files": {"": self.filled("config_files")},
            "firewall": {"": self.filled("firewall")},
            "certificate": dict.fromkeys(("", "absent"), self.filled("certificate")),
            "mysql_database": dict.fromkeys(("", "absent"), self.filled("mysql_database", environment_files={"a": self.payload}, kept=True)),
            "release": {state: release.get(state, self.filled("release")) for state in states},
        }
        (self.work / "answers.json").write_text(json.dumps(answers))

    def play(self, how: str, *playbooks: str) -> tuple[int, str]:
        """Run playbooks; returns the exit code and what was printed."""
        words = [sys.executable, "-m", "ansible", "playbook", "-v", how, "-i", str(self.work / "inventory.yml")]
        words += [word for name, value in self.given.items() for word in ("-e", f"{name}={value}")]
        paths = [str(self.collection / f"playbooks/{name}.yml") for name in playbooks]
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": f"{self.work}/collections:{os.environ.get('ANSIBLE_COLLECTIONS_PATH', '')}",
            "ANSIBLE_CONFIG": str(self.work / "none.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOST_PATTERN_MISMATCH": "ignore",
        }  # fmt: skip
        environment = {**os.environ, **settings}
        done = subprocess.run([*words, *paths], env=environment, cwd=self.work, capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode()


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    """Such a host."""
    made = Hostile(tmp_path)
    made.answer()
    return made


def shown_by(hostile: Hostile, how: str, *playbooks: str, code: int) -> str:
    """Run playbooks, and insist that nothing which the hosts return is run or controls a terminal; returns what was shown."""
    ended, output = hostile.play(how, *playbooks)
    assert ended == code, output
    assert not hostile.mark.exists(), output
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f].{0,40}", output) == []
    return " ".join(output.split())


def test_what_a_host_returns_is_shown_and_not_run(hostile: Hostile) -> None:
    """Wherever the playbooks show it: URLs, releases, states, logs, reasons, paths, diffs, warnings."""
    # a dry run, because this machine is the host
    output = shown_by(hostile, "-CD", "status", "site", "rollback", "maintenance", "logs", "restart", "run", "remove", code=0)
    assert output.count("lookup('pipe'") > 100
    assert "Traceback" not in output


def test_nor_is_the_reason_of_a_failure(hostile: Hostile) -> None:
    """Not by the task that failed, and not by what sums up how it went on all hosts."""
    failure = {"failed": True, "msg": hostile.payload, "output": hostile.payload, "exception": hostile.payload}
    hostile.answer(live=failure)
    (hostile.work / "inventory.yml").write_text(yaml.safe_dump(hostile.inventory("web2")))
    output = shown_by(hostile, "-D", "deploy", code=2)
    assert "shop: no host keeps the release" in output and "web2 failed: {{ lookup('pipe'" in output


@pytest.mark.parametrize("playbook", ["maintenance", "remove"])
def test_nor_is_a_name_that_only_the_host_knows(hostile: Hostile, playbook: str) -> None:
    """It is shown to who gives an unknown one."""
    hostile.given["flask_app_name"] = "nobody"
    output = shown_by(hostile, "-CD", playbook, code=2)
    assert re.search(r"flask_app_name: got '?nobody'?, needs an app of .*lookup\('pipe'", output)
