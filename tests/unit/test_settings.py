"""The roles' variables: complete, or refused with what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.flaskops.hosting.plugins.modules import survey
from ansible_collections.flaskops.hosting.plugins.plugin_utils import settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.placement import NO_SITE, Topology, conflicts, derive, recorded, site_of
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings, problems_of_module

GUNICORN = Topology("nginx_gunicorn", "nginx_gunicorn", "nginx_site")
UWSGI = Topology("nginx_uwsgi", "uwsgi_app", "nginx_site")
APACHE_UWSGI = Topology("apache_uwsgi_mysql", "uwsgi_app", "apache_site")
MOD_WSGI = Topology("apache_mod_wsgi", "apache_wsgi", "apache_site")
DEV = Topology("dev_server", "dev_server")
PRODUCTION = [GUNICORN, UWSGI, APACHE_UWSGI, MOD_WSGI]
GOOD = {"flask_app_name": "shop", "flask_app_source": "/home/me/shop"}


def render(value: Any, variables: dict[str, Any]) -> Any:
    """Enough of a template engine for the defaults."""
    while isinstance(value, str) and value.startswith(("{{", "/srv/{{")):
        name = value.split("{{")[1].split("}}")[0].strip()
        if name not in variables:
            raise AnsibleError(f"'{name}' is undefined")
        value = value.split("{{")[0] + str(variables[name])
    return value


def load(path: Path) -> Any:
    """Read YAML."""
    return yaml.safe_load(path.read_text())


def roles_of(topology: Topology) -> list[str]:
    """The roles whose variables an app of a topology has."""
    return ["flask_app", *[role for role in (topology.front, topology.server) if role]]


def role_of(variable: str) -> str:
    """The role that a variable belongs to."""
    return next(role for role in settings.known_roles() if variable.startswith(f"{role}_"))


def check(own: dict[str, Any] | None = None, topology: Topology = GUNICORN, **variables: Any) -> Settings:
    """The settings of a good app with some variables changed."""
    return Settings(roles_of(topology), {**GOOD, **variables}, own or {}, load, render)


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
    assert found.values["flask_app_group"] == "wsgi"
    assert found.values["nginx_gunicorn_workers"] == 4


def test_an_apps_own_variables_win_and_defaults_follow_them() -> None:
    found = check({"flask_app_name": "blog", "flask_app_user": "blog"}, flask_app_user="wsgi")
    assert found.values["flask_app_root"] == "/srv/blog"
    assert found.values["flask_app_group"] == "blog"


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
        ("flask_app_user", "Robert; DROP"),
        ("flask_app_user", "root"),
        ("flask_app_user", "www-data"),
        ("flask_app_module", "main"),
        ("flask_app_module", "main.py"),
        ("flask_app_mount", "shop"),
        ("flask_app_mount", "/shop/"),
        ("flask_app_health_path", "healthz"),
        ("flask_app_static", {"static": "static"}),
        ("flask_app_static", {"/static": "../static"}),
        ("flask_app_shared", ["/var/data"]),
        ("flask_app_before_activation", ["echo 'no end"]),
        ("flask_app_after_activation", ["true", " "]),
        ("flask_app_keep_releases", 0),
        ("nginx_site_listen", "eighty"),
        ("nginx_site_listen", "1.2.3:80"),
        ("nginx_site_listen", "70000"),
        ("nginx_site_server_names", ["shop.example;"]),
        ("nginx_gunicorn_workers", 0),
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
        ("uwsgi_app_front", "haproxy"),
        ("uwsgi_app_listen", "8930"),
        ("uwsgi_app_listen", ":8930"),
        ("uwsgi_app_listen", "localhost:8930"),
        ("uwsgi_app_listen", "unix:/run/app.sock"),
        ("uwsgi_app_protocol", "fastcgi"),
        ("uwsgi_app_processes", 0),
        ("uwsgi_app_threads", 0),
        ("uwsgi_app_timeout", 0),
        ("uwsgi_app_worker_class", "gthread"),
        ("uwsgi_app_mounts", {"your/path": "main:app"}),
        ("uwsgi_app_mounts", {"/your/path/": "main:app"}),
        ("uwsgi_app_mounts", {"/your path": "main:app"}),
        ("uwsgi_app_mounts", {"/your/path": "main"}),
        ("uwsgi_app_mounts", {"/good": "main:app", "/your/path": None}),
        ("uwsgi_app_origin", "source"),
        ("uwsgi_app_requirement", "uwsgi==2.0.31"),
        ("uwsgi_app_requirement", "pyuwsgi-fork"),
        ("uwsgi_app_manager", "runit"),
        ("apache_site_name", "my site"),
        ("apache_site_name", "../site"),
        ("apache_site_listen", "eighty"),
        ("apache_site_listen", "0"),
        ("apache_site_server_names", ["shop.example/"]),
        ("apache_site_php", {"/": "../page"}),
        ("apache_site_php", {"page": "page"}),
        ("apache_wsgi_processes", 0),
        ("apache_wsgi_threads", 0),
        ("apache_wsgi_timeout", 0),
        ("dev_server_listen", "5000"),
        ("dev_server_listen", ":5000"),
        ("dev_server_listen", "0.0.0.0:5000"),
        ("dev_server_listen", "[::]:5000"),
        ("dev_server_listen", "192.0.2.1:5000"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_itself_and_what_would_be_right(name: str, given: Any) -> None:
    problem = only_problem(check_one(name, given))
    assert problem.startswith(f"{name}: got {given!r}, needs ")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("flask_app_environment_files", []),
        ("uwsgi_app_front", "apache_site"),
        ("uwsgi_app_listen", "unix:run/app.sock"),
        ("uwsgi_app_listen", "0.0.0.0:1024"),
        ("uwsgi_app_listen", "[::1]:8930"),
        ("uwsgi_app_requirement", "pyuwsgi"),
        ("uwsgi_app_requirement", "pyuwsgi >= 2.0.28, < 2.1"),
        ("uwsgi_app_mounts", {}),
        ("uwsgi_app_mounts", {"/": "main:app", "/a/b": "shop.web:create_app()"}),
        ("apache_site_name", ""),
        ("apache_site_name", "000-wsgi.conf"),
        ("apache_site_listen", "10.0.0.5:8080"),
        ("apache_site_server_names", ["shop.example", "*.shop.example"]),
        ("apache_site_php", {"/": "page"}),
        ("dev_server_listen", "[::1]:1024"),
    ],
)
def test_a_right_value_is_taken(name: str, given: Any) -> None:
    found = check_one(name, given)
    assert (found.problems, found.values[name]) == ([], given)


@pytest.mark.parametrize("name", sorted(set(settings.RULES) - {"mysql_webapp_schema"}))  # whose example is no file here
def test_every_example_in_a_message_is_right(name: str) -> None:
    found = check_one(name, yaml.safe_load(settings.RULES[name].example))
    assert found.problems == [] and name in found.values


@pytest.mark.parametrize("topology", [*PRODUCTION, DEV], ids=lambda topology: topology.name)
def test_every_topologys_defaults_are_right(topology: Topology) -> None:
    found = check(topology=topology)
    assert found.problems == []
    derived = set(derive(found.values, host(apps={}), topology, "192.0.2.1"))
    assert set(NO_SITE) <= derived <= set(yaml.safe_load(survey.RETURN))


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("nginx_gunicorn_worker", "nginx_gunicorn_workers"),
        ("flask_app_enviroment", "flask_app_environment"),
        ("nginx_site_server_name", "nginx_site_server_names"),
    ],
)
def test_a_typo_is_told_the_nearest_name(typo: str, near: str) -> None:
    assert only_problem(check(**{typo: 1})) == f"{typo}: there is no such variable; did you mean {near}?"
    assert only_problem(check({typo: 1})) == f"{typo}: there is no such variable; did you mean {near}?"


def test_a_key_of_an_app_that_is_no_variable_is_refused() -> None:
    assert "name: there is no such variable" in only_problem(check({"name": "shop"}))


def test_other_variables_of_the_host_are_nobodys_business() -> None:
    assert check(flask_apps=[], ansible_user="ubuntu", flask="x", __flask_app={}).problems == []


@pytest.mark.parametrize("missing", ["flask_app_name", "flask_app_source"])
def test_a_missing_variable_is_named_with_an_example(missing: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != missing}
    found = Settings(roles_of(GUNICORN), given, {}, load, render)
    assert only_problem(found).startswith(f"{missing}: is not given. For example:\n    {missing}: ")


def test_a_variable_that_cannot_be_rendered_is_named() -> None:
    assert only_problem(check(flask_app_user="{{ nobody }}")) == "flask_app_user: 'nobody' is undefined"


def test_an_app_that_is_to_go_needs_no_source() -> None:
    assert Settings(roles_of(GUNICORN), {"flask_app_name": "shop", "flask_app_state": "absent"}, {}, load, render).problems == []


@pytest.mark.parametrize("value", [1, True, None, ["x"], {"a": "b"}, 1.5])
def test_a_secret_that_is_no_string_is_refused_and_not_shown(value: Any) -> None:
    problem = only_problem(check(flask_app_secrets={"KEY": value}))
    assert problem == f"flask_app_secrets: KEY is a {type(value).__name__}, needs a string; put it in quotes"


def test_secrets_that_are_no_dictionary_are_refused_and_not_shown() -> None:
    problem = only_problem(check(flask_app_secrets=["hunter2"]))
    assert problem == "flask_app_secrets: got a list, needs a dictionary"


@pytest.mark.parametrize("name", ["flask_app_environment", "flask_app_secrets"])
def test_a_variable_name_that_no_process_can_have_is_refused(name: str) -> None:
    assert "needs a variable name" in only_problem(check(**{name: {"MY-KEY": "x"}}))
    assert "NUL" in only_problem(check(**{name: {"KEY": "a\0b"}}))


def test_the_environment_takes_numbers_but_no_ambiguous_values() -> None:
    assert check(flask_app_environment={"PORT": 8080}).problems == []
    assert "DEBUG is True, needs a string" in only_problem(check(flask_app_environment={"DEBUG": True}))


def test_all_problems_are_told_at_once() -> None:
    assert len(check(flask_app_mount="x", nginx_gunicorn_workers=0, nginx_site_listne="80").problems) == 3


def test_the_base_role_alone_is_refused() -> None:
    problem = only_problem(Settings(["flask_app"], GOOD, {}, load, render))
    assert problem.startswith("flask_app serves nothing by itself; use a topology's role instead, one of: ")
    assert "nginx_gunicorn" in problem


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
    assert problem.startswith("flask_app_module: got 'serve:app'") and problem.endswith("its modules: main")


def test_a_callable_that_is_not_there_is_named_with_those_that_are(source: Path) -> None:
    (problem,) = problems_of_module(source, "main:application")
    assert "main.py defines no application; it defines: Flask, app" in problem


def test_a_name_inside_a_function_is_not_the_modules(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def create():\n    app = 1\n")
    assert "defines no app" in next(problems_of_module(tmp_path, "main:app"))


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("app = 1\ndef (:\n")
    assert "main.py, line 2" in next(problems_of_module(tmp_path, "main:app"))


def record(name: str, topology: Topology = GUNICORN, port: int = 80, **more: Any) -> dict[str, Any]:
    """What a host has noted of an app."""
    site = {"site": str(port), "site_listen": str(port), "site_names": [], "front": {"address": f"127.0.0.1:{port}", "host": "localhost"}}
    return {
        "app": name, "topology": topology.name, "root": f"/srv/{name}", "user": name, "group": name,
        "mount": "/", "mounts": ["/"], "modules": [], "front_role": topology.front, "listen": "unix:run/app.sock",
        **(site if topology.front else NO_SITE), **more,
    }


def host(**more: Any) -> dict[str, Any]:
    """A host as survey finds it, with another app."""
    blog = record("blog", listen="127.0.0.1:8001")
    account = {"user": True, "group": True, "ours": True, "foreign": False}
    python = {"given": "3.13", "distribution": "3.13"}
    return {"apps": {"blog": blog}, "sockets": [], "account": account, "apache": {"modules": [], "ports": [80]}, "python": python, **more}


def with_apps(*records: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A host with these apps."""
    return host(apps={one["app"]: one for one in records}, **more)


def problems(topology: Topology, found: dict[str, Any], **variables: Any) -> list[str]:
    """What of an app would hurt something else on a host."""
    return list(conflicts(check(topology=topology, **variables).values, found, topology))


def left(topology: Topology, found: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """What follows for an app on a host."""
    return derive(check(topology=topology, **variables).values, found, topology, "192.0.2.1")


def socket(port: int, process: str, user: str, address: str = "0.0.0.0", unit: str = "") -> dict[str, Any]:
    """A listening socket as survey finds it."""
    return {"address": address, "port": port, "process": process, "user": user, "unit": unit}


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "flask_app_mount: / on port 80 is the app blog's"),
        ({"nginx_site_listen": "81", "flask_app_user": "blog"}, "flask_app_user: 'blog' is the app blog's"),
        ({"nginx_site_listen": "81", "flask_app_root": "/srv/blog"}, "flask_app_root: '/srv/blog' is the app blog's"),
        ({"nginx_site_listen": "81", "nginx_gunicorn_listen": "127.0.0.1:8001"}, "nginx_gunicorn_listen: 127.0.0.1:8001 is the app blog's"),
    ],
)
def test_what_another_app_has_is_refused(variables: dict[str, Any], problem: str) -> None:
    (found,) = problems(GUNICORN, host(), **variables)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "variables", [{"flask_app_mount": "/shop"}, {"nginx_site_server_names": ["shop.example"]}, {"nginx_site_listen": "81"}]
)
def test_apps_share_a_host_under_other_mounts_names_or_ports(variables: dict[str, Any]) -> None:
    assert problems(GUNICORN, host(), **variables) == []


@pytest.mark.parametrize("topology", PRODUCTION, ids=lambda topology: topology.name)
def test_apps_of_any_servers_on_one_front_share_its_mounts(topology: Topology) -> None:
    for other in [one for one in PRODUCTION if one.front == topology.front]:
        found = with_apps(record("blog", other, mount="/blog", mounts=["/blog", "/news"]))
        assert problems(topology, found) == problems(topology, found, flask_app_mount="/shop") == []
        (problem,) = problems(topology, found, flask_app_mount="/news")
        assert problem.startswith("flask_app_mount: /news on port 80 is the app blog's")
        assert problem.endswith(f"give this app another flask_app_mount, {topology.front}_server_names or {topology.front}_listen")


def test_more_mounts_of_uwsgi_are_mounts_too() -> None:
    found = with_apps(record("blog", mount="/blog", mounts=["/blog"]))
    assert problems(UWSGI, found, uwsgi_app_mounts={"/news": "main:app"}) == []
    (problem,) = problems(UWSGI, found, uwsgi_app_mounts={"/blog": "main:app", "/news": "main:app"})
    assert problem.startswith("flask_app_mount: /blog on port 80 is the app blog's")


def test_a_sites_given_name_goes_with_its_port_and_names() -> None:
    found = with_apps(record("blog", MOD_WSGI, site="wsgi", mount="/blog", mounts=["/blog"]))
    assert problems(MOD_WSGI, found, apache_site_name="wsgi") == []
    (problem,) = problems(MOD_WSGI, found, apache_site_name="shop")
    assert problem.startswith("apache_site_name: got 'shop', but the app blog is on the site 'wsgi'")
    (problem,) = problems(MOD_WSGI, found)
    assert problem.startswith("apache_site_name: got '80', but the app blog is on the site 'wsgi'")
    (problem,) = problems(MOD_WSGI, found, apache_site_name="wsgi", apache_site_listen="81")
    assert problem.startswith("apache_site_name: got 'wsgi', but the app blog is on the site 'wsgi'")


def test_two_fronts_do_not_mix_their_sites_but_their_ports() -> None:
    found = with_apps(record("blog", MOD_WSGI), sockets=[socket(80, "apache2", "root")])
    (problem,) = problems(GUNICORN, found)
    assert problem.startswith("nginx_site_listen: port 80 is in use by apache2 of root")
    assert problems(GUNICORN, found, nginx_site_listen="81") == []


def test_two_apps_may_each_have_a_unix_socket_of_their_own() -> None:
    assert problems(GUNICORN, with_apps(record("blog", port=8000))) == []


@pytest.mark.parametrize(
    ("topology", "listen"), [(GUNICORN, "nginx_gunicorn_listen"), (UWSGI, "uwsgi_app_listen"), (APACHE_UWSGI, "uwsgi_app_listen")]
)
def test_a_port_of_another_app_is_refused_whatever_its_server(topology: Topology, listen: str) -> None:
    found = with_apps(record("blog", UWSGI, 8000, listen="127.0.0.1:8930"))
    (problem,) = problems(topology, found, **{listen: "127.0.0.1:8930"})
    assert problem == f"{listen}: 127.0.0.1:8930 is the app blog's; give this app another port"


def test_apps_in_apaches_own_processes_have_no_port_to_share() -> None:
    found = with_apps(record("blog", MOD_WSGI, mount="/blog", mounts=["/blog"], listen=""))
    assert problems(MOD_WSGI, found) == []


def test_a_port_of_another_service_is_refused() -> None:
    found = host(apps={}, sockets=[socket(80, "apache2", "root"), socket(8080, "", "tomcat")])
    front, backend = problems(GUNICORN, found, nginx_gunicorn_listen="127.0.0.1:8080")
    assert front == "nginx_site_listen: port 80 is in use by apache2 of root; stop that, or give another port"
    assert backend.startswith("nginx_gunicorn_listen: port 8080 is in use by a process of tomcat")
    found = host(apps={}, sockets=[socket(80, "nginx", "root"), socket(8080, "", "tomcat")])
    front, backend = problems(APACHE_UWSGI, found, uwsgi_app_listen="127.0.0.1:8080")
    assert front.startswith("apache_site_listen: port 80 is in use by nginx") and backend.startswith("uwsgi_app_listen: port 8080")
    (backend,) = problems(DEV, host(apps={}, sockets=[socket(80, "nginx", "root"), socket(5000, "x", "y")]))
    assert backend.startswith("dev_server_listen: port 5000 is in use by x of y")


def test_a_port_that_is_ours_or_on_another_address_is_no_conflict() -> None:
    ours = socket(8080, "systemd", "root", unit="shop-port-8080.socket")
    found = host(apps={}, sockets=[socket(80, "nginx", "root"), ours, socket(8080, "x", "y", "10.0.0.1")])
    assert problems(GUNICORN, found, nginx_gunicorn_listen="127.0.0.1:8080") == []
    found = host(apps={}, sockets=[socket(80, "apache2", "root")])
    assert problems(MOD_WSGI, found) == []
    found = host(apps={}, sockets=[socket(8080, "systemd", "root", unit="blog-port-8080.socket")])
    (problem,) = problems(GUNICORN, found, nginx_gunicorn_listen="127.0.0.1:8080")
    assert "in use by systemd of root (blog-port-8080.socket)" in problem


def test_an_app_that_moves_to_another_front_takes_its_port_along_unless_others_need_it() -> None:
    sockets = [socket(80, "nginx", "root")]
    assert problems(MOD_WSGI, with_apps(record("shop"), sockets=sockets)) == []
    (problem,) = problems(MOD_WSGI, with_apps(record("shop"), record("blog", mounts=["/blog"]), sockets=sockets))
    assert problem.startswith("apache_site_listen: port 80 is in use by nginx")


@pytest.mark.parametrize("topology", PRODUCTION, ids=lambda topology: topology.name)
def test_development_and_production_do_not_share_a_host(topology: Topology) -> None:
    for mine, others in ((topology, DEV), (DEV, topology)):
        (problem,) = problems(mine, with_apps(record("blog", others, 8000)))
        assert problem.startswith(f"flask_app_name: this host has the app blog ({others.name}), and a development server and production")


def test_the_development_server_has_no_mounts() -> None:
    (problem,) = problems(DEV, host(apps={}), flask_app_mount="/shop")
    assert problem.startswith("flask_app_mount: got '/shop', but the development server knows no mount")


def test_an_app_in_production_gets_no_development_server_but_the_other_way_round() -> None:
    (problem,) = problems(DEV, with_apps(record("shop", UWSGI)))
    assert problem.startswith("flask_app_name: this host has the app shop (nginx_uwsgi)")
    assert problems(UWSGI, with_apps(record("shop", DEV))) == []
    assert problems(DEV, with_apps(record("shop", DEV), record("blog", DEV, listen="127.0.0.1:5001"))) == []


@pytest.mark.parametrize(
    ("topology", "variables", "server"),
    [(MOD_WSGI, {}, "mod_wsgi"), (UWSGI, {}, "uWSGI"), (APACHE_UWSGI, {"uwsgi_app_origin": "distribution"}, "uWSGI")],
)
def test_a_server_of_the_distribution_needs_the_distributions_python(topology: Topology, variables: dict[str, Any], server: str) -> None:
    python = {"flask_app_python": "/opt/python"}
    (problem,) = problems(topology, host(apps={}, python={"given": "3.12", "distribution": "3.13"}), **python, **variables)
    assert problem == (
        f"flask_app_python: got '/opt/python', which is Python 3.12, but the distribution's {server} is built for Python 3.13. "
        "For example:\n    flask_app_python: /usr/bin/python3"
    )
    (problem,) = problems(topology, host(apps={}, python={"given": "", "distribution": "3.13"}), **python, **variables)
    assert "which is not there" in problem
    assert problems(topology, host(apps={}), **python, **variables) == []


@pytest.mark.parametrize(("topology", "variables"), [(GUNICORN, {}), (UWSGI, {"uwsgi_app_origin": "venv"}), (DEV, {})])
def test_a_server_in_the_venv_takes_any_python(topology: Topology, variables: dict[str, Any]) -> None:
    found = host(apps={}, python={"given": "3.12", "distribution": "3.13"})
    assert problems(topology, found, flask_app_python="/opt/python", **variables) == []


@pytest.mark.parametrize(
    ("variables", "url", "front"),
    [
        ({}, "http://192.0.2.1/", {"address": "127.0.0.1:80", "host": "localhost"}),
        ({"listen": "81"}, "http://192.0.2.1:81/", {"address": "127.0.0.1:81", "host": "localhost"}),
        ({"listen": "[::]:80"}, "http://192.0.2.1/", {"address": "[::1]:80", "host": "localhost"}),
        ({"listen": "10.0.0.5:80"}, "http://192.0.2.1/", {"address": "10.0.0.5:80", "host": "localhost"}),
        (
            {"server_names": ["*.shop.example", "shop.example", "www.shop.example"], "flask_app_mount": "/a"},
            "http://shop.example/a/",
            {"address": "127.0.0.1:80", "host": "shop.example"},
        ),
    ],
)
@pytest.mark.parametrize("topology", PRODUCTION, ids=lambda topology: topology.name)
def test_where_an_app_answers_follows_from_its_site(topology: Topology, variables: dict[str, Any], url: str, front: dict[str, str]) -> None:
    given = {name if name.startswith("flask_app_") else f"{topology.front}_{name}": value for name, value in variables.items()}
    found = left(topology, host(), **given)
    assert (found["url"], found["front"]) == (url, front)


def test_an_app_without_a_front_answers_where_its_server_listens() -> None:
    found = left(DEV, host(), dev_server_listen="[::1]:1024")
    assert (found["url"], found["front_port"], found["site"]) == ("http://[::1]:1024/", 0, "") and not found["front"]


def test_the_port_of_ssh_stays_open_wherever_it_is() -> None:
    assert left(GUNICORN, host(sockets=[socket(2222, "sshd", "root")]))["ssh_ports"] == [2222]
    assert left(GUNICORN, host())["ssh_ports"] == [22]


@pytest.mark.parametrize("front", ["nginx_site", "apache_site"])
def test_sites_are_shared_by_apps_with_the_same_address_and_names(front: str) -> None:
    topology = UWSGI if front == "nginx_site" else APACHE_UWSGI

    def site(**variables: Any) -> str:
        return site_of(check(topology=topology, **variables).values, front)

    assert site(flask_app_mount="/shop") == "80"
    assert site(**{f"{front}_server_names": ["b.example", "a.example"]}) == "80-a.example-b.example"
    assert len(site(**{f"{front}_server_names": [f"name-{number}.example" for number in range(50)]})) <= 80
    assert len({site(**{f"{front}_listen": listen}) for listen in ("80", "[::]:80", "[::1]:80", "127.0.0.1:80", "0.0.0.0:80")}) == 5


def test_a_site_may_have_a_name() -> None:
    assert site_of(check(topology=MOD_WSGI, apache_site_name="wsgi").values, "apache_site") == "wsgi"


@pytest.mark.parametrize(
    ("variables", "before", "left_site", "left_ports"),
    [
        ({"flask_app_mount": "/shop"}, record("shop"), "", []),
        ({"nginx_site_listen": "82"}, record("shop", port=81), "81", [81]),
        ({"nginx_site_listen": "82"}, record("shop"), "80", []),
        ({"nginx_site_server_names": ["a.example"]}, record("shop", port=81), "81", [81]),
        ({"flask_app_state": "absent"}, record("shop", port=81), "81", [81]),
        ({"flask_app_state": "absent"}, record("shop", port=22), "22", []),
    ],
)
def test_what_an_app_leaves_is_taken_away_unless_others_need_it(
    variables: dict[str, Any], before: dict[str, Any], left_site: str, left_ports: list[int]
) -> None:
    found = left(GUNICORN, with_apps(record("blog"), before), **variables)
    assert (found["left_site"], found["left_ports"]) == (left_site, left_ports)
    assert found["left_site_is_shared"] is (left_site == "80" or not left_site)


NOTHING = {"left_front": "", "left_site": "", "left_listen": "", "left_modules": []}
MOVES = {
    "first run": (MOD_WSGI, {}, None, {}),
    "same again": (MOD_WSGI, {}, record("shop", MOD_WSGI), {}),
    "other mount": (MOD_WSGI, {"flask_app_mount": "/shop"}, record("shop", MOD_WSGI), {}),
    "other port": (MOD_WSGI, {"apache_site_listen": "82"}, record("shop", MOD_WSGI, 81), {"left_site": "81", "left_listen": "81"}),
    "other port, where the old one is others' too": (
        MOD_WSGI, {"apache_site_listen": "82"}, record("shop", MOD_WSGI, 8000), {"left_site": "8000"},
    ),
    "other name on the same port": (
        MOD_WSGI, {"apache_site_listen": "81", "apache_site_name": "wsgi"}, record("shop", MOD_WSGI, 81), {"left_site": "81"},
    ),
    "other server behind the same front": (
        APACHE_UWSGI, {}, record("shop", MOD_WSGI, modules=["wsgi"]), {"left_modules": ["wsgi"]},
    ),
    "from nginx to Apache": (MOD_WSGI, {}, record("shop", UWSGI), {"left_front": "nginx_site", "left_site": "80", "left_listen": "80"}),
    "from Apache to nginx": (
        GUNICORN, {}, record("shop", MOD_WSGI, modules=["proxy", "wsgi"]),
        {"left_front": "apache_site", "left_site": "80", "left_listen": "80", "left_modules": ["wsgi"]},
    ),
    "from development to production": (MOD_WSGI, {}, record("shop", DEV), {}),
    "absent": (
        MOD_WSGI, {"flask_app_state": "absent"}, record("shop", MOD_WSGI, modules=["proxy", "wsgi"]),
        {"left_front": "apache_site", "left_site": "80", "left_listen": "80", "left_modules": ["wsgi"]},
    ),
    "absent, told of another topology": (
        GUNICORN, {"flask_app_state": "absent"}, record("shop", MOD_WSGI, 81),
        {"left_front": "apache_site", "left_site": "81", "left_listen": "81"},
    ),
    "absent, never there": (MOD_WSGI, {"flask_app_state": "absent"}, None, {}),
    "absent, without a front": (DEV, {"flask_app_state": "absent"}, record("shop", DEV), {}),
}  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
def test_an_app_leaves_what_it_has_no_more(move: str) -> None:
    topology, variables, before, expected = MOVES[move]
    blog = record("blog", APACHE_UWSGI, 8000, modules=["proxy", "proxy_uwsgi"])
    found = left(topology, with_apps(blog, *([before] if before else [])), **variables)
    assert {name: found[name] for name in NOTHING} == NOTHING | expected
    assert found["before"] == (before or {})


def test_a_port_that_another_site_has_under_an_address_stays() -> None:
    blog = record("blog", MOD_WSGI, 81, site="10.0.0.5-81", site_listen="10.0.0.5:81")
    found = left(MOD_WSGI, with_apps(blog, record("shop", MOD_WSGI, 81)), apache_site_listen="82")
    assert (found["left_site"], found["left_listen"], found["left_ports"]) == ("81", "", [])


def test_modules_that_were_on_before_the_apps_came_are_nobodys_to_take() -> None:
    found = with_apps(record("blog", MOD_WSGI, modules=["wsgi"]), apache={"modules": ["headers", "ssl", "wsgi"], "ports": [80]})
    assert left(MOD_WSGI, found)["foreign_modules"] == ["headers", "ssl"]


def test_the_host_remembers_where_an_app_is_and_whose() -> None:
    assert recorded(check().values, with_apps(record("shop", UWSGI))) == {
        "flask_app_root": "/srv/shop",
        "flask_app_user": "shop",
        "flask_app_group": "shop",
    }
    assert recorded(check().values, host()) == {}


def test_an_account_of_somebody_else_is_refused() -> None:
    found = host(apps={}, account={"user": False, "group": True, "ours": False, "foreign": True})
    (problem,) = problems(GUNICORN, found, flask_app_user="ubuntu")
    assert problem.startswith("flask_app_user: 'ubuntu' is an account that this collection did not make")


def test_an_app_does_not_move_to_another_root_behind_its_own_back() -> None:
    (problem,) = problems(GUNICORN, with_apps(record("shop")), flask_app_root="/opt/shop")
    assert problem.startswith("flask_app_root: got '/opt/shop', but shop is in /srv/shop")
