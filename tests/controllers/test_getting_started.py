"""A user follows docs/getting-started.md and nothing else: every file is written and every command typed exactly as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.controllers.controller import Controller
from ansible_collections.flaskops.hosting.tests.controllers.examples import serve_git
from ansible_collections.flaskops.hosting.tests.documents import sections_of
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, missing

CONTROLLER, HOST = "198.18.3.30", "198.18.3.31"
PAGE = sections_of(ROOT / "docs/getting-started.md")
INSTALL = "ansible-galaxy collection install flaskops.hosting"


@pytest.fixture(scope="module")
def reader(controller: Controller, host: Target, tarball: Path) -> Controller:
    """A user who has finished the first section. The tarball replaces Galaxy, the machine's Ansible the one from pip."""
    commands = [command for block in PAGE["Install"] for command in block.commands]
    assert commands.pop() == INSTALL and all("ansible" in command for command in commands)
    controller.install(tarball)
    controller.follow([block for block in PAGE["Install"] if block.file] + PAGE["An app"])
    return controller


def test_host_it(reader: Controller) -> None:
    """The dry run changes nothing, the real run ends with the address and the release, and the app answers."""
    dry, real, answer = reader.follow(PAGE["Host it"])
    assert "shop would answer at http://192.0.2.10/" in dry.output and "failed=0" in dry.output
    assert re.search(r"host  app   answers at          live release\n *- web1  shop  http://192.0.2.10/  [0-9a-f]{12}-[0-9a-f]{8}\n", real.output)
    assert "Hello, world!" in answer.output


def test_release_it_again_and_break_it(reader: Controller, host: Target) -> None:
    """A good release goes live. A bad one does not, and the message says why."""
    _edit, deploy, changed, _break, broken, still, _mend = reader.follow(PAGE["Release it again"])
    assert "shop answers at" in deploy.output and "Hello, ペン!" in changed.output
    assert not missing(broken.output, ["No module named 'nowhere'", "keeps serving"])
    assert "Hello, ペン!" in still.output


def test_go_back(reader: Controller, host: Target) -> None:
    """The release before is live again, and the status lists all three."""
    back, status = reader.follow(PAGE["Go back"])
    assert "shop answers at" in back.output and host.get("/").text == "Hello, world!"
    assert not missing(status.output, ["health 200 OK", "failed: importing main raised ModuleNotFoundError", "live 20"])


def test_give_it_a_secret(reader: Controller, host: Target) -> None:
    """The app gets the secret, and neither the files nor the output show it."""
    *_rest, deploy, answer = reader.follow(PAGE["Give it a secret"])
    assert "Hello, with a key of 32 characters!" in answer.output
    secret = host.run("grep ^SHOP_API_KEY /srv/shop/current/environment").split('"')[1]
    assert len(secret) == 32 and secret not in deploy.output
    assert not reader.target.succeeds(f"grep -rF {secret} /home/me")


def test_a_second_app_from_git_with_a_database(reader: Controller, host: Target) -> None:
    """Only the user's key opens the repository, the database keeps the visitors' entries, and the first app keeps serving."""
    blocks = PAGE["A second app, from git, with a database"]
    serve_git(reader, "me/guestbook.git", {block.file: block.text for block in blocks if block.file.startswith("guestbook/")}, "main")
    *_files, site, _signed, entries = reader.follow([block for block in blocks if not block.file.startswith("guestbook/")])
    assert not missing(site.output, ["guestbook answers at http://192.0.2.10:8080/", "shop answers at http://192.0.2.10/"])
    assert ascii("こんにちは")[1:-1] in entries.output
    assert host.get("/").status == 200
    assert "changed=0" in reader.succeed("ansible-playbook flaskops.hosting.site").output


def test_remove_what_you_tried(reader: Controller, host: Target) -> None:
    """Nothing is left: no tree, account, site, port or database."""
    reader.follow(PAGE["Remove what you tried"])
    assert host.run("find /srv /etc/flaskops/apps /etc/flaskops/databases -mindepth 1; getent passwd shop guestbook || true", check=False) == ""


def test_no_section_is_left_out() -> None:
    """The tests above follow each section that has code."""
    followed = {
        "Install", "An app", "Host it", "Release it again", "Go back", "Give it a secret", "A second app, from git, with a database",
        "Remove what you tried",
    }  # fmt: skip
    assert set(PAGE) == followed
