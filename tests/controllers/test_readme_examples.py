"""A user who has the README's apps and hosts writes and types its examples exactly as shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.controllers.controller import Controller
from ansible_collections.flaskops.hosting.tests.controllers.examples import serve_git
from ansible_collections.flaskops.hosting.tests.documents import sections_of
from ansible_collections.flaskops.hosting.tests.suite import thorough
from ansible_collections.flaskops.hosting.tests.targets.authority import Authority, visit
from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, Target, missing
from ansible_collections.flaskops.hosting.tests.targets.pebble import DIRECTORY, Pebble

CONTROLLER, HOST = "198.18.3.40", "198.18.3.41"
README = sections_of(ROOT / "README.md")
# These sections are tested elsewhere: by CI itself, and by tests/aws.
ELSEWHERE = {"See it work", "On AWS"}
NAME = "shop.example.com"
CODE = """\
import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return f"shop as {os.environ.get('DATABASE_USER', 'nobody')}"
"""
FACTORY = """\
import os
from pathlib import Path

from flask import Flask, url_for


def create_app():
    app = Flask(__name__)
    assert os.environ["DATABASE_PASSWORD"] and os.environ["SHOP_CURRENCY"] == "JPY"

    @app.get("/")
    def index():
        return f"{url_for('index')} {Path('uploads/migrated').read_text()}"

    @app.get("/healthz")
    def healthz():
        return "fine"

    @app.cli.group()
    def db():
        pass

    @db.command()
    def upgrade():
        Path("uploads/migrated").write_text("migrated")

    return app
"""
SHOP = {
    "shop/shop/__init__.py": "",
    "shop/shop/web.py": FACTORY,
    "shop/wsgi.py": "from shop.web import create_app\n\napp = create_app()\n",
    "shop/announce.py": "print('the announcement')\n",
    "shop/static/style.css": "h1 { color: blue; }\n",
    "shop/requirements.txt": "flask==3.1.3\n",
}


@pytest.fixture(scope="module")
def reader(controller: Controller, host: Target, tarball: Path) -> Controller:
    """A user with the README's apps, and with the collection."""
    for app in ("shop", "blog"):
        controller.write(f"{app}/main.py", CODE.encode())
        controller.write(f"{app}/requirements.txt", b"flask==3.1.3\n")
    controller.write("shop/schema/001-orders.sql", b"CREATE TABLE orders (id INT PRIMARY KEY);\n")
    controller.install(tarball)
    return controller


@pytest.fixture
def ca(reader: Controller, host: Target, tmp_path: Path) -> Path:
    """A CA on the host in place of Let's Encrypt, for all apps of the inventory; the root certificate of what it gives."""
    pebble = Pebble(host, Authority(tmp_path))
    pebble.install()
    pebble.name(NAME)
    reader.write("ca.pem", pebble.ca_file.read_bytes())
    reader.write("group_vars/all.yml", f"flask_app_acme_directory: {DIRECTORY}\nflask_app_acme_ca_file: /home/me/ca.pem\n".encode())
    return pebble.root(tmp_path)


def test_host_your_own_app(reader: Controller, host: Target, ca: Path) -> None:
    """From an inventory to an app that answers by HTTPS, with a certificate that a visitor trusts; what asks by HTTP is sent there."""
    install, *blocks = README["Host your own app"]
    # the machine has Ansible, and got the collection from its tarball
    assert [command.split()[0] for command in install.commands] == ["python3", ".", "pip", "ansible-galaxy"]
    dry, real = reader.follow(blocks)
    assert f"shop would answer at https://{NAME}/" in dry.output
    assert f"shop answers at https://{NAME}/" in real.output
    found = visit(host, NAME, root=ca).answer
    assert (found.text, found.headers["Strict-Transport-Security"]) == ("shop as nobody", "max-age=31536000")
    assert visit(host, NAME, alpn="h2").protocol == "h2"
    redirect = host.get("/x?y=1", host=NAME)
    assert (redirect.status, redirect.headers["Location"]) == (308, f"https://{NAME}/x?y=1")
    assert host.run("systemctl is-active flaskops-certificates.timer") == "active"


def test_more_of_it(reader: Controller, host: Target) -> None:
    """The variables in the example do what their comments say."""
    serve_git(reader, "me/shop.git", SHOP, "v1.4")
    reader.write("group_vars/all.yml", b"vaulted_database_password: secret\n")
    reader.follow(README["More of it"])
    play = reader.succeed("ansible-playbook flaskops.hosting.site -i hosts.yml")
    assert not missing(play.output, ["shop answers at http://www.example.com/shop", "blog answers at http://blog.example.com/", "the announcement"])
    assert host.get("/shop/", host="www.example.com").text == "/shop/ migrated"
    assert host.get("/shop/static/style.css", host="www.example.com").status == 200
    assert host.get("/", host="blog.example.com").text == "shop as nobody"
    # for the next section, which has another app
    reader.succeed("rm -r group_vars")


def test_with_a_database(reader: Controller, host: Target) -> None:
    """The app has an account of its own in the database. Without a name, it answers at the host's address, and HTTPS is gone."""
    reader.follow(README["With a database"])
    reader.succeed("ansible-playbook flaskops.hosting.site -i hosts.yml")
    assert host.get("/").text == "shop as shop_app"
    assert host.run("ls /etc/letsencrypt/live | grep flaskops || true") == ""


def test_day_two(reader: Controller, host: Target) -> None:
    """The three playbooks for day two."""
    deploy, rollback, status = reader.follow(README["Day two"])
    assert "shop answers at" in deploy.output and "before" in rollback.output
    assert not missing(status.output, ["200 OK", "blog"])


@thorough
def test_the_page_of_day_two(reader: Controller, host: Target) -> None:
    """Every command of the page works. A restore brings back what was in the backup, and nothing that came later."""
    sections = sections_of(ROOT / "docs/day-two.md")
    host.run("echo kept | install --owner=shop /dev/stdin /srv/shop/shared/uploads/file && mariadb shop -e 'INSERT INTO orders VALUES (1)'")
    *_copies, end = reader.follow(sections.pop("Back up"))
    assert "-- Dump completed" in end.output
    host.run("rm /srv/shop/shared/uploads/file && mariadb shop -e 'DELETE FROM orders; INSERT INTO orders VALUES (2)'")
    reader.follow(sections.pop("Restore"))
    assert host.run("cat /srv/shop/shared/uploads/file; mariadb shop --batch --skip-column-names -e 'SELECT * FROM orders'").split() == ["kept", "1"]
    assert host.run("stat -c %U /srv/shop/shared/uploads/file") == "shop" and host.get("/").text == "shop as shop_app"

    for example in ("Where things are on the host", "What an app knows of itself", "Migrate a database"):
        del sections[example]
    remove = sections.pop("Remove it")
    commands = {"Run a command", "On the host", "Restart it", "Close it for a while"}
    assert set(sections) == {"Deploy", "Roll back", "See how it is", "Read the logs", *commands}
    for blocks in sections.values():
        reader.follow(blocks)
    assert host.get("/").status == 503
    reader.follow(remove)
    assert host.run("ls /srv/shop") == "shared", "what the app has written stays"


def test_no_example_is_left_out() -> None:
    """Each section with code is tested above, or elsewhere."""
    assert set(README) == {"Host your own app", "More of it", "With a database", "Day two", *ELSEWHERE}
