"""The roles' variables: complete, or rejected with what would be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flaskops.hosting.plugins.plugin_utils import settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.rules import RULES
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings, problems_of_module
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES
from ansible_collections.flaskops.hosting.tests.unit.hosts import GOOD, load, render, settings_of

ROLES = TOPOLOGIES["nginx_gunicorn"].roles


def role_of(variable: str) -> str:
    """The role that a variable belongs to."""
    return next(role for role in settings.known_roles() if variable.startswith(f"{role}_"))


def check(own: dict[str, Any] | None = None, topology: str = "nginx_gunicorn", **variables: Any) -> Settings:
    """The settings of a good app with some variables changed."""
    return settings_of(topology, own, **variables)


def check_one(name: str, value: Any) -> Settings:
    """The settings of the variable's role and what it stands on, with this one changed."""
    role = role_of(name)
    if role == "mysql_webapp":
        return Settings([role], {"mysql_webapp_database": "webapp", name: value}, {}, load, render)
    return Settings(["flask_app", *({role} - {"flask_app"}), "nginx_site"], {**GOOD, name: value}, {}, load, render)


def only_problem(found: Settings) -> str:
    """The one problem that was found."""
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def test_defaults_complete_what_is_given() -> None:
    found = check(nginx_gunicorn_workers="4")
    assert found.problems == []
    assert found.values["flask_app_root"] == "/srv/shop"
    assert (found.values["flask_app_user"], found.values["flask_app_group"]) == ("shop", "shop")
    assert found.values["nginx_gunicorn_workers"] == 4


def test_an_apps_own_variables_win_and_defaults_follow_them() -> None:
    found = check({"flask_app_name": "blog", "flask_app_user": "blog"}, flask_app_user="wsgi")
    assert found.values["flask_app_root"] == "/srv/blog"
    assert found.values["flask_app_group"] == "blog"


@pytest.mark.parametrize("root", ["/srv/shop", "/srv/" + "x" * 58, "/usr/local/apps/shop", "/var/www/html/flask-app", "/opt/shops/shop..old"])
def test_where_an_app_can_be(root: str) -> None:
    assert check(flask_app_root=root).problems == []


def test_secrets_are_not_among_the_values() -> None:
    found = check(flask_app_secrets={"KEY": "hunter2"})
    assert found.problems == []
    assert "hunter2" not in str(found.values)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("flask_app_name", "my/shop"),
        ("flask_app_name", "my shop"),
        ("flask_app_name", "x" * 33),
        ("flask_app_name", "../shop"),
        ("flask_app_name", "магазин"),
        ("flask_app_root", "srv/shop"),
        ("flask_app_root", "/srv"),
        ("flask_app_root", "/srv/../etc/shop"),
        ("flask_app_root", "/home/ubuntu/shop"),
        ("flask_app_root", "/tmp/shop"),
        ("flask_app_root", "/usr/share/shop"),
        ("flask_app_root", "/srv/" + "x" * 59),
        ("flask_app_user", "Robert; DROP"),
        ("flask_app_user", "root"),
        ("flask_app_user", "www-data"),
        ("flask_app_module", "main"),
        ("flask_app_module", "main.py"),
        ("flask_app_mount", "shop"),
        ("flask_app_mount", "/shop/"),
        ("flask_app_mount", "/shop/.."),
        ("flask_app_static", {"/static/../admin": "static"}),
        ("flask_app_module", "main:create_app(open('x'))"),
        ("flask_app_module", "main:create_app('x\n')"),
        ("flask_app_module", "main:create_app(1)()"),
        ("flask_app_health_path", "healthz"),
        ("flask_app_balancer_path", "/"),
        ("flask_app_balancer_path", "/a b"),
        ("flask_app_static", {"static": "static"}),
        ("flask_app_static", {"/static": "../static"}),
        ("flask_app_shared", ["/var/data"]),
        ("flask_app_exclude", ["docs", "/var/data"]),
        ("flask_app_exclude", ["docs/../../key"]),
        ("flask_app_exclude", ["./docs"]),
        ("flask_app_exclude", [""]),
        ("flask_app_before_activation", ["echo 'no end"]),
        ("flask_app_after_activation", ["true", " "]),
        ("flask_app_keep_releases", 0),
        ("flask_app_listen", ["eighty"]),
        ("flask_app_listen", ["1.2.3:80"]),
        ("flask_app_listen", ["70000"]),
        ("flask_app_listen", ["0"]),
        ("flask_app_listen", []),
        ("flask_app_listen", ["80", "80"]),
        ("flask_app_max_body", -1),
        ("flask_app_max_body", "16m"),
        ("flask_app_server_names", ["shop.example;"]),
        ("nginx_gunicorn_workers", -1),
        ("nginx_gunicorn_workers", "many"),
        ("nginx_gunicorn_threads", -1),
        ("nginx_gunicorn_worker_class", "tornado"),
        ("nginx_gunicorn_listen", "localhost"),
        ("nginx_gunicorn_listen", "8080"),
        ("flask_app_state", "gone"),
        ("flask_app_python", "python3"),
        ("flask_app_python", "/usr/bin/env python3"),
        ("flask_app_environment_files", ["database.env"]),
        ("flask_app_environment_files", ["/etc/a b.env"]),
        ("uwsgi_app_listen", "8930"),
        ("uwsgi_app_listen", ":8930"),
        ("uwsgi_app_listen", "localhost:8930"),
        ("uwsgi_app_listen", "unix:/run/app.sock"),
        ("uwsgi_app_protocol", "fastcgi"),
        ("uwsgi_app_processes", -1),
        ("uwsgi_app_threads", 0),
        ("uwsgi_app_worker_class", "gthread"),
        ("uwsgi_app_mounts", {"your/path": "main:app"}),
        ("uwsgi_app_mounts", {"/your/path/": "main:app"}),
        ("uwsgi_app_mounts", {"/your path": "main:app"}),
        ("uwsgi_app_mounts", {"/your/path": "main"}),
        ("uwsgi_app_mounts", {"/good": "main:app", "/your/path": None}),
        ("uwsgi_app_origin", "source"),
        ("uwsgi_app_requirement", "uwsgi==2.0.31"),
        ("uwsgi_app_requirement", "pyuwsgi-fork"),
        ("uwsgi_app_requirement", "pyuwsgi @ https://me:hush@pypi.example/pyuwsgi.whl"),
        ("nginx_gunicorn_requirement", "gunicorn @ https://me:hush@pypi.example/gunicorn.whl"),
        ("uwsgi_app_manager", "runit"),
        ("apache_site_name", "my site"),
        ("apache_site_name", "../site"),
        ("flask_app_server_names", ["shop.example/"]),
        ("flask_app_trusted_proxies", ["balancer.example"]),
        ("flask_app_trusted_proxies", ["10.0.0.1/16"]),
        ("flask_app_trusted_proxies", ["fe80::1%eth0"]),
        ("flask_app_trusted_proxies", ["0.0.0.0/0"]),
        ("flask_app_trusted_proxies", ["*"]),
        ("flask_app_trusted_proxies", ["10.0.0.0/16; 10.1.0.0/16"]),
        ("apache_site_php", {"/": "../page"}),
        ("apache_site_php", {"page": "page"}),
        ("apache_wsgi_processes", -1),
        ("apache_wsgi_threads", 0),
        ("flask_app_timeout", 0),
        *(("flask_app_listen", [one]) for one in ("2001:db8::7:8080", "[192.0.2.7]:80", "[2001:db8::7:80", "[fe80::1%eth0]:80")),
        ("nginx_gunicorn_listen", "::1:8080"),
        ("dev_server_listen", "5000"),
        ("dev_server_listen", ":5000"),
        ("dev_server_listen", "0.0.0.0:5000"),
        ("dev_server_listen", "[::]:5000"),
        ("dev_server_listen", "192.0.2.1:5000"),
        ("mysql_webapp_database", "mysql"),
        *(("mysql_webapp_accounts", [{"name": name, "privileges": ["SELECT"]}]) for name in ("a`b", "root", "a'; DROP TABLE x; --")),
        ("mysql_webapp_accounts", [{"name": "reader", "privileges": ["SELECT"], "host": "a b"}]),
        ("mysql_webapp_schema", ["/nowhere.sql"]),
    ],
)
def test_a_wrong_value_is_rejected_with_its_name_itself_and_what_would_be_right(name: str, given: Any) -> None:
    problem = only_problem(check_one(name, given))
    assert problem.startswith(f"{name}: got {given!r}, needs ")


ADDRESSES = "ports, or IP addresses and ports, each once, and IPv6 in brackets"
MOUNTS = "URL paths with a leading slash and no trailing one, and WSGI callables"
LOOPBACK = "a port of the loopback address, because only you may reach it"
COMMANDS = "commands, each a program and its arguments, with every quote closed; no shell reads them"


@pytest.mark.parametrize(
    ("name", "given", "message", "example"),
    [
        ("flask_app_name", "a b", "'a b', needs 1 to 32 letters, digits, - and _, a letter first", "shop"),
        ("flask_app_module", "main", "'main', needs module:callable, module:factory(), module:factory('text') or module:object.callable", "main:app"),
        ("nginx_gunicorn_workers", -1, "-1, needs a whole number of at least 1, or 0 for as many as suit the host", "4"),
        ("nginx_gunicorn_workers", "many", "'many', needs a whole number", "4"),
        (
            "nginx_gunicorn_listen",
            "localhost:http",
            "'localhost:http', needs unix:run/app.sock, or an IP address and a port, with IPv6 in brackets",
            '"127.0.0.1:8080"',
        ),
        ("flask_app_listen", "300.1.2.3:80", f"['300.1.2.3:80'], needs {ADDRESSES}", '["80"]'),
        ("flask_app_listen", 70000, f"['70000'], needs {ADDRESSES}", '["80"]'),
        ("flask_app_before_activation", ["echo 'no end"], f"""["echo 'no end"], needs {COMMANDS}""", "[flask db upgrade]"),
        ("flask_app_before_activation", [""], f"[''], needs {COMMANDS}", "[flask db upgrade]"),
        ("flask_app_mount", "new", "'new', needs a URL path with a leading slash and no trailing one", "/shop"),
        ("apache_wsgi_threads", 0, "0, needs a whole number of at least 1", "4"),
        ("apache_site_php", {"page": "../page"}, "{'page': '../page'}, needs URL paths and directories of the source", "{/static: static}"),
        ("uwsgi_app_mounts", {"your/path": "main:app"}, f"{{'your/path': 'main:app'}}, needs {MOUNTS}", "{/your/path: main:app}"),
        ("uwsgi_app_listen", "8930", "'8930', needs unix:run/app.sock, or an IP address and a port, with IPv6 in brackets", '"127.0.0.1:8080"'),
        ("dev_server_listen", "0.0.0.0:5001", f"'0.0.0.0:5001', needs {LOOPBACK}", '"127.0.0.1:5000"'),
    ],
)
def test_a_whole_message(name: str, given: Any, message: str, example: str) -> None:
    assert only_problem(check_one(name, given)) == f"{name}: got {message}. For example:\n    {name}: {example}"


@pytest.mark.parametrize(("name", "choices"), [("uwsgi_app_manager", "systemd, supervisord"), ("uwsgi_app_protocol", "uwsgi, http")])
def test_a_message_has_all_choices(name: str, choices: str) -> None:
    assert only_problem(check_one(name, "fastcgi")).startswith(f"{name}: got 'fastcgi', needs one of {choices}")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("flask_app_environment_files", []),
        ("uwsgi_app_listen", "unix:run/app.sock"),
        ("uwsgi_app_listen", "0.0.0.0:1024"),
        ("uwsgi_app_listen", "[::1]:8930"),
        ("uwsgi_app_requirement", "pyuwsgi"),
        ("uwsgi_app_requirement", "pyuwsgi >= 2.0.28, < 2.1"),
        ("flask_app_module", "pyramid.paster:get_app('production.ini')"),
        ("flask_app_module", """main:create_app("a (b), c", -1,debug=False, name=None)"""),
        ("uwsgi_app_mounts", {}),
        ("uwsgi_app_mounts", {"/": "main:app", "/a/b": "shop.web:create_app()"}),
        ("apache_site_name", ""),
        ("apache_site_name", "000-wsgi.conf"),
        ("flask_app_listen", ["80", "10.0.0.5:8080", "[::]:8081", "[2001:db8::7]:8080"]),
        ("flask_app_max_body", 0),
        ("flask_app_server_names", ["shop.example", "*.shop.example"]),
        ("flask_app_trusted_proxies", ["10.0.0.5", "10.0.0.0/16", "2001:db8::7", "2001:db8::/32"]),
        ("apache_site_php", {"/": "page"}),
        ("dev_server_listen", "[::1]:1024"),
    ],
)
def test_a_right_value_is_taken(name: str, given: Any) -> None:
    found = check_one(name, given)
    assert (found.problems, found.values[name]) == ([], given)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"mysql_webapp_schema"}))  # whose example is no file here
def test_every_example_in_a_message_is_right(name: str) -> None:
    found = check_one(name, yaml.safe_load(RULES[name].example))
    assert found.problems == [] and name in found.values


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topologys_defaults_are_right(topology: str) -> None:
    assert check(topology=topology).problems == []


def test_one_port_is_a_list_of_one() -> None:
    assert check(flask_app_listen=80).values["flask_app_listen"] == ["80"]
    assert check(flask_app_listen="10.0.0.5:8080").values["flask_app_listen"] == ["10.0.0.5:8080"]


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("nginx_gunicorn_worker", "nginx_gunicorn_workers"),
        ("flask_app_enviroment", "flask_app_environment"),
        ("flask_app_moduel", "flask_app_module"),
        ("flask_app_server_name", "flask_app_server_names"),
    ],
)
def test_a_typo_gets_the_nearest_name(typo: str, near: str) -> None:
    variables: dict[str, Any] = {typo: 1}
    assert only_problem(check(**variables)) == f"{typo}: unknown variable; did you mean {near}?"
    assert only_problem(check(variables)) == f"{typo}: unknown variable; did you mean {near}?"


def test_a_key_of_an_app_that_is_no_variable_is_rejected() -> None:
    assert "name: unknown variable" in only_problem(check({"name": "shop"}))


@pytest.mark.parametrize(
    ("topology", "typo", "near"),
    [("nginx_uwsgi", "uwsgi_app_process", "uwsgi_app_processes"), ("apache_mod_wsgi", "apache_wsgi_process", "apache_wsgi_processes")],
)
def test_so_does_a_typo_in_a_servers_variable(topology: str, typo: str, near: str) -> None:
    assert only_problem(check({typo: 1}, topology)) == f"{typo}: unknown variable; did you mean {near}?"


def test_other_variables_of_the_host_are_nobodys_business() -> None:
    assert check(flask_apps=[], ansible_user="ubuntu", flask="x", __flask_app={}).problems == []


@pytest.mark.parametrize(("missing", "example"), [("flask_app_name", "shop"), ("flask_app_source", "/home/me/shop")])
def test_a_missing_variable_is_named_with_an_example(missing: str, example: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != missing}
    found = Settings(ROLES, given, {}, load, render)
    assert only_problem(found) == f"{missing}: is not given. For example:\n    {missing}: {example}"


def test_a_variable_that_cannot_be_rendered_is_named() -> None:
    assert only_problem(check(flask_app_user="{{ nobody }}")) == "flask_app_user: 'nobody' is undefined"


def test_an_app_that_is_to_go_needs_no_source() -> None:
    assert Settings(ROLES, {"flask_app_name": "shop", "flask_app_state": "absent"}, {}, load, render).problems == []


@pytest.mark.parametrize("value", [1, True, None, ["x"], {"a": "b"}, 1.5])
def test_a_secret_that_is_no_string_is_rejected_and_not_shown(value: Any) -> None:
    problem = only_problem(check(flask_app_secrets={"KEY": value}))
    assert problem == f"flask_app_secrets: KEY is a {type(value).__name__}, needs a string; put it in quotes"


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"]])
def test_secrets_that_are_no_dictionary_are_rejected_and_not_shown(value: Any) -> None:
    problem = only_problem(check(flask_app_secrets=value))
    assert problem == f"flask_app_secrets: got a {type(value).__name__}, needs a dictionary"


@pytest.mark.parametrize("name", ["flask_app_environment", "flask_app_secrets"])
def test_a_variable_name_that_no_process_can_have_is_rejected(name: str) -> None:
    for variables, words in (({"MY-KEY": "x"}, "needs a variable name"), ({"KEY": "a\0b"}, "NUL")):
        given: dict[str, Any] = {name: variables}
        assert words in only_problem(check(**given))


@pytest.mark.parametrize(
    ("name", "directory", "shared"),
    [
        ("flask_app_static", "media", "media"),
        ("flask_app_static", "./media/", "media"),
        ("flask_app_static", "media/public", "media"),
        ("flask_app_static", "media", "media/uploads"),
        ("apache_site_php", "page", "page/cache"),
    ],
)
def test_what_the_front_serves_is_not_what_the_app_writes(name: str, directory: str, shared: str) -> None:
    topology = "nginx_gunicorn" if name == "flask_app_static" else "apache_uwsgi_mysql"
    found = check({name: {"/files": directory}, "flask_app_shared": [shared]}, topology)
    assert f"{name}: /files is served from '{directory}', which overlaps '{shared}' of flask_app_shared" in only_problem(found)
    assert check({name: {"/files": "media2"}, "flask_app_shared": ["media"]}, topology).problems == []


def test_a_health_path_reaches_the_app() -> None:
    """A file that the front serves by itself is there also if the app is not."""
    static = {"/static": "static"}
    found = check(flask_app_static=static, flask_app_health_path="/static/ok.txt?now")
    assert only_problem(found).startswith("flask_app_health_path: got '/static/ok.txt', which is served from 'static' (flask_app_static)")
    assert check(flask_app_static=static, flask_app_health_path="/statical").problems == []


def test_the_path_of_balancers_is_the_fronts_own() -> None:
    found = check(flask_app_balancer_path="/check", flask_app_health_path="/check?now")
    assert only_problem(found).startswith("flask_app_balancer_path: got '/check', which is flask_app_health_path too; give one")
    found = check(flask_app_balancer_path="/check", flask_app_health_path="/health$x")
    assert only_problem(found).startswith("flask_app_health_path: got '/health$x', needs nothing but letters")
    assert check(flask_app_balancer_path="/check", flask_app_health_path="/health/z?deep=1&b=,").problems == []


@pytest.mark.parametrize("name", ["flask_app_environment", "flask_app_secrets"])
def test_names_that_the_host_tells_are_no_apps_own(name: str) -> None:
    given: dict[str, Any] = {name: {"FLASKOPS_PHASE": "worker"}}
    assert only_problem(check(**given)).startswith(f"{name}: FLASKOPS_PHASE begins with FLASKOPS_")


def test_the_environment_takes_numbers_but_no_ambiguous_values() -> None:
    assert check(flask_app_environment={"PORT": 8080}).problems == []
    assert "DEBUG is True, needs a string" in only_problem(check(flask_app_environment={"DEBUG": True}))


def test_all_problems_are_reported_at_once() -> None:
    assert len(check(flask_app_mount="x", nginx_gunicorn_workers=-1, nginx_site_listne="80").problems) == 3


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("app = 1", "main:app"),
        ("from factory import app", "main:app"),
        ("def create_app(): ...", "main:create_app()"),
        ("try:\n    app = 1\nexcept ImportError:\n    app = 2", "main:app"),
        ("if True:\n    with open('x') as app: pass", "main:app"),
        ("from things import *", "main:app"),
        ("app: object = 1", "main:app"),
    ],
)
def test_a_callable_is_found_however_it_is_bound(tmp_path: Path, code: str, module: str) -> None:
    (tmp_path / "main.py").write_text(code)
    assert list(problems_of_module(tmp_path, module)) == []


def test_a_package_is_a_module_too(tmp_path: Path) -> None:
    (tmp_path / "shop" / "web").mkdir(parents=True)
    (tmp_path / "shop" / "web" / "__init__.py").write_text("app = 1")
    assert list(problems_of_module(tmp_path, "shop.web:app")) == []


def test_a_module_that_is_not_there_is_named_with_those_that_are(source: Path) -> None:
    (problem,) = problems_of_module(source, "serve:app")
    assert problem.startswith("flask_app_module: got 'serve:app'") and problem.endswith("has no module serve; its modules: main")


def test_a_callable_that_is_not_there_is_named_with_those_that_are(source: Path) -> None:
    (problem,) = problems_of_module(source, "main:application")
    assert "main.py defines no application; it defines: Flask, app" in problem


def test_a_name_inside_a_function_is_not_the_modules(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def create():\n    app = 1\n")
    assert "defines no app" in next(problems_of_module(tmp_path, "main:app"))


@pytest.mark.parametrize(
    "code",
    [
        "globals()['a' + 'pp'] = 1\n",
        "def make():\n    global app\n    app = 1\nmake()\n",
        "import sys\nsys.modules[__name__] = object()\n",
        "exec(open('more.py').read())\n",
    ],
)
def test_a_callable_that_cannot_be_seen_is_left_to_the_pre_flight(tmp_path: Path, code: str) -> None:
    (tmp_path / "main.py").write_text(code)
    assert list(problems_of_module(tmp_path, "main:app")) == []


def test_only_the_hosts_python_says_what_is_a_syntax_error(tmp_path: Path) -> None:
    """It may be newer than the controller's."""
    (tmp_path / "main.py").write_text("app = 1\ndef (:\n")
    assert list(problems_of_module(tmp_path, "main:app")) == []


def test_a_module_may_be_below_src_or_in_a_package_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "src/shop").mkdir(parents=True)
    (tmp_path / "src/shop/__init__.py").write_text("app = 1")
    assert list(problems_of_module(tmp_path, "shop:app")) == []
    assert list(problems_of_module(tmp_path, "shop:app.server")) == []
    assert list(problems_of_module(tmp_path, "shop:app('a.b')")) == []
    assert list(problems_of_module(tmp_path, "mlflow.server:app", requires=True)) == []
    assert "has no module mlflow.server" in next(problems_of_module(tmp_path, "mlflow.server:app"))
    assert "has no module shop.web" in next(problems_of_module(tmp_path, "shop.web:app", requires=True))


@pytest.mark.parametrize(
    "code",
    ["a" + ".b" * 200_000, "a" + ".b" * 32_000, "x=" + "[]+" * 21_000 + "1", "-" * 60_000 + "1", "a" + "+1" * 30_000, "app=1\0", "#" * 300_000],
    ids=["long", "attributes", "sums", "signs", "numbers", "null", "comment"],
)
def test_no_code_stops_the_controller(tmp_path: Path, code: str) -> None:
    """Python's parser ends with errors of several kinds, or ends the process; none of it says that the app is wrong."""
    (tmp_path / "main.py").write_text(code)
    script = (
        f"import pathlib; from {problems_of_module.__module__} import problems_of_module as p; list(p(pathlib.Path({str(tmp_path)!r}), 'main:app'))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
