"""What is made of a source on its host: packages of the distribution, an environment, code that commands complete, and a callable wherever it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import Target, app, write_source
from ansible_collections.flaskops.hosting.tests.unit.wheels import make_wheel

ADDRESS = "198.18.2.245"
CODE = """
import json, os, sys
from pathlib import Path

class App:
    pass

def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    made = Path(os.environ["FLASKOPS_RELEASE_PATH"], "code/static/made.json")
    return [json.dumps({"module": __file__, "made": json.loads(made.read_text()) if made.exists() else None}).encode()]

app = App()
app.wsgi = App()
app.wsgi.server = answer
"""
MAKE = """
import json, os, subprocess
from pathlib import Path

seen = {"names": sorted(os.environ), "uid": os.getuid(), "phase": os.environ["FLASKOPS_PHASE"], "mode": os.environ["MODE"]}
seen["jq"] = subprocess.run(["jq", "--version"], capture_output=True, text=True, check=True).stdout
seen["shared"] = os.access("/srv/made/shared", os.X_OK)
Path("static").mkdir()
Path("static/made.json").write_text(json.dumps(seen))
Path("static/made.json").chmod(0o666)
"""
PACKAGE = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "packaged"
version = "1.0"
dependencies = ["gunicorn==23.0.0"]
"""
CALLABLE = "main:app.wsgi.server"
# A company's index: by HTTPS with a certificate of its own authority, and only with a login.
INDEX, LOGIN = "packages.corp.example:8443", "deploy:s3cret"
CERTIFICATES = """
set -e
mkdir -p /opt/index && cd /opt/index
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=Corp -keyout ca.key -out ca.pem -days 2 -addext keyUsage=keyCertSign 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=packages -keyout key.pem -out request.pem 2>/dev/null
echo subjectAltName=DNS:packages.corp.example >names
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -out cert.pem -days 2 -extfile names 2>/dev/null
cat /etc/ssl/certs/ca-certificates.crt ca.pem >/etc/ssl/corporate.pem
echo 127.0.0.1 packages.corp.example >>/etc/hosts
"""
SERVER = """
import base64, functools, http.server, ssl, sys

class Index(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(sys.argv[1].encode()).decode():
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=packages")
        self.send_header("Content-Length", "0")
        self.end_headers()

server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), functools.partial(Index, directory="/opt/index/served"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/opt/index/cert.pem", "/opt/index/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Apps of one host, by their names."""
    sources = {
        "made": {"main.py": CODE, "make.py": MAKE},
        "packaged": {"pyproject.toml": PACKAGE, "src/packaged/__init__.py": "", "src/packaged/main.py": CODE},
        "below": {"src/main.py": CODE, "requirements.txt": "corporate==1.0\n"},
        "apache": {"src/main.py": CODE},
    }
    settings: dict[str, dict[str, Any]] = {
        "made": {
            "module": CALLABLE, "system_packages": ["jq"], "build": ["python make.py", "rm make.py"], "static": {"/static": "static"},
            "environment": {"MODE": "built"}, "secrets": {"TOKEN": "hunter2"},
        },
        "packaged": {"module": "packaged.main:app.wsgi.server", "requirements": "auto", "listen": "81"},
        "below": {"module": CALLABLE, "topology": "nginx_uwsgi", "listen": "82", "requirements": "auto"},
        "apache": {"module": CALLABLE, "topology": "apache_mod_wsgi", "listen": "83"},
    }  # fmt: skip
    made = {name: write_source(tmp_path_factory.mktemp(name), files) for name, files in sources.items()}
    return {name: app(name, made[name], **settings[name]) for name in sources}


@pytest.fixture(scope="module")
def host(target: Target, apps: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A host with all of them, which pip's configuration sends to a company's index too."""
    target.run(CERTIFICATES)
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"), "corporate", "1.0")
    served = "/opt/index/served/simple/corporate"
    target.run(f"mkdir -p {served} && base64 --decode >{served}/{wheel.name}", stdin=base64.b64encode(wheel.read_bytes()).decode())
    target.run("cat >/opt/index/server.py", stdin=SERVER)
    target.run(f"systemd-run --unit=index python3 /opt/index/server.py {LOGIN}")
    target.run("cat >>/etc/pip.conf", stdin=f"\n[install]\nextra-index-url =\n    https://{LOGIN}@{INDEX}/simple\ncert = /etc/ssl/corporate.pem\n")
    target.converge([{"flask_app_topology": target.topology, **one} for one in apps.values()], playbook="hosting")
    return target


def test_commands_complete_the_code(host: Target) -> None:
    """With the distribution's packages and the app's environment, as an account of their own, without its secrets; then it is root's."""
    made = host.get("/").json()["made"]
    assert (made["phase"], made["mode"], made["shared"]) == ("build", "built", False) and made["jq"].startswith("jq-")
    assert "TOKEN" not in made["names"] and made["uid"] not in (0, int(host.run("id --user made")))
    assert host.get("/static/made.json").json() == made
    code = "/srv/made/current/code"
    assert host.run(f"stat --format='%U %a' {code}/main.py {code}/static/made.json").splitlines() == ["root 640", "root 644"]
    assert not host.succeeds(f"test -e {code}/make.py")


def test_a_command_that_fails_is_shown(host: Target, apps: dict[str, dict[str, Any]]) -> None:
    play = host.play([{**apps["made"], "flask_app_build": ["python make.py", "python -c 'print(6 * 7); raise SystemExit(3)'"]}])
    said = " ".join(play.output.split())
    assert play.returncode and "made: the build's command" in said and "ended with code 3" in said and "42" in said, play.output
    assert host.get("/").status == 200


def test_a_package_below_src_is_installed_and_its_gunicorn_is_taken(host: Target) -> None:
    assert "/site-packages/packaged/main.py" in host.get("/", 81).json()["module"]
    assert host.run("/srv/packaged/current/.venv/bin/gunicorn --version") == "gunicorn (version 23.0.0)"


@pytest.mark.parametrize(("name", "port"), [("below", 82), ("apache", 83)])
def test_a_module_below_src_needs_no_package(host: Target, name: str, port: int) -> None:
    """In servers that know no attribute such as this callable."""
    assert host.get("/", port).json()["module"] == host.run(f"readlink --canonicalize /srv/{name}/current/code/src/main.py")


def test_a_companys_index_needs_pips_configuration_only(host: Target) -> None:
    """With its login and its certificates; what is built does not hold the login."""
    assert host.run("cat /srv/below/current/.venv/lib/python3*/site-packages/corporate.py") == "VERSION = '1.0'"
    assert not host.succeeds("grep --recursive --fixed-strings s3cret /srv /etc/flaskops /var/cache/flaskops")


def test_what_was_built_is_no_new_release(host: Target, apps: dict[str, dict[str, Any]]) -> None:
    play = host.converge([apps["made"], apps["packaged"]])
    assert play.recap["changed"] == 0, play.changed


def test_static_directories_are_looked_for_before_anything_is_touched(host: Target, apps: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    source = write_source(tmp_path, {"main.py": CODE})
    play = host.play([app("bare", source, module=CALLABLE, static={"/static": "static"}, listen="84")])
    assert play.returncode and "flask_app_static: /static is 'static', which is no directory of" in " ".join(play.output.split())
    assert json.loads(host.run("cat /etc/flaskops/apps/made.json"))["app"] == "made" and not host.succeeds("id bare")
