"""The roles' variables: complete, or refused with what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.flaskops.hosting.plugins.plugin_utils import settings
from ansible_collections.flaskops.hosting.plugins.plugin_utils.settings import Settings, conflicts, derive, problems_of_module

ROLES = ["flask_app", "nginx_site", "nginx_gunicorn"]
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


def check(own: dict[str, Any] | None = None, **variables: Any) -> Settings:
    """The settings of a good app with some variables changed."""
    return Settings(ROLES, {**GOOD, **variables}, own or {}, load, render)


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
    ],
)
def test_a_wrong_value_is_refused_with_its_name_itself_and_what_would_be_right(name: str, given: Any) -> None:
    problem = only_problem(check(**{name: given}))
    assert problem.startswith(f"{name}: got {given!r}, needs ")


@pytest.mark.parametrize("name", settings.RULES)
def test_every_example_in_a_message_is_right(name: str) -> None:
    value = yaml.safe_load(settings.RULES[name].example)
    assert check(**{name: value}).problems == []


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
    found = Settings(ROLES, given, {}, load, render)
    assert only_problem(found).startswith(f"{missing}: is not given. For example:\n    {missing}: ")


def test_a_variable_that_cannot_be_rendered_is_named() -> None:
    assert only_problem(check(flask_app_user="{{ nobody }}")) == "flask_app_user: 'nobody' is undefined"


def test_an_app_that_is_to_go_needs_no_source() -> None:
    assert Settings(ROLES, {"flask_app_name": "shop", "flask_app_state": "absent"}, {}, load, render).problems == []


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


def host(**more: Any) -> dict[str, Any]:
    """A host as survey finds it, with another app."""
    blog = {
        "app": "blog", "root": "/srv/blog", "user": "blog", "mount": "/", "site": "80", "listen": "127.0.0.1:8001",
        "front": {"address": "127.0.0.1:80", "host": "localhost"},
    }
    account = {"user": True, "group": True, "ours": True, "foreign": False}
    return {"apps": {"blog": blog}, "sockets": [], "account": account, **more}


def socket(port: int, process: str, user: str, address: str = "0.0.0.0") -> dict[str, Any]:
    """A listening socket as survey finds it."""
    return {"address": address, "port": port, "process": process, "user": user, "unit": ""}


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
    (found,) = conflicts(check(**variables).values, host())
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "variables", [{"flask_app_mount": "/shop"}, {"nginx_site_server_names": ["shop.example"]}, {"nginx_site_listen": "81"}]
)
def test_apps_share_a_host_under_other_mounts_names_or_ports(variables: dict[str, Any]) -> None:
    assert list(conflicts(check(**variables).values, host())) == []


def test_two_apps_may_each_have_a_unix_socket_of_their_own() -> None:
    found = host()
    found["apps"]["blog"].update(listen="unix:run/app.sock", site="8000")
    assert list(conflicts(check().values, found)) == []


def test_a_port_of_another_service_is_refused() -> None:
    found = host(apps={}, sockets=[socket(80, "apache2", "root"), socket(8080, "", "tomcat")])
    front, backend = conflicts(check(nginx_gunicorn_listen="127.0.0.1:8080").values, found)
    assert front == "nginx_site_listen: port 80 is in use by apache2 of root; stop that, or give another port"
    assert backend.startswith("nginx_gunicorn_listen: port 8080 is in use by a process of tomcat")


def test_a_port_that_is_ours_or_on_another_address_is_no_conflict() -> None:
    found = host(apps={}, sockets=[socket(80, "nginx", "root"), socket(8080, "", "wsgi"), socket(8080, "x", "y", "10.0.0.1")])
    assert list(conflicts(check(nginx_gunicorn_listen="127.0.0.1:8080").values, found)) == []


@pytest.mark.parametrize(
    ("variables", "url", "front"),
    [
        ({}, "http://192.0.2.1/", {"address": "127.0.0.1:80", "host": "localhost"}),
        ({"nginx_site_listen": "81"}, "http://192.0.2.1:81/", {"address": "127.0.0.1:81", "host": "localhost"}),
        ({"nginx_site_listen": "[::]:80"}, "http://192.0.2.1/", {"address": "[::1]:80", "host": "localhost"}),
        ({"nginx_site_listen": "10.0.0.5:80"}, "http://192.0.2.1/", {"address": "10.0.0.5:80", "host": "localhost"}),
        (
            {"nginx_site_server_names": ["shop.example", "www.shop.example"], "flask_app_mount": "/a"},
            "http://shop.example/a/",
            {"address": "127.0.0.1:80", "host": "shop.example"},
        ),
    ],
)
def test_where_an_app_answers_follows_from_its_site(variables: dict[str, Any], url: str, front: dict[str, str]) -> None:
    found = derive(check(**variables).values, host(), "192.0.2.1")
    assert (found["url"], found["front"]) == (url, front)


def test_the_port_of_ssh_stays_open_wherever_it_is() -> None:
    assert derive(check().values, host(sockets=[socket(2222, "sshd", "root")]), "x")["ssh_ports"] == [2222]
    assert derive(check().values, host(), "x")["ssh_ports"] == [22]


def test_sites_are_shared_by_apps_with_the_same_address_and_names() -> None:
    assert settings.site_of(check(flask_app_mount="/shop").values) == "80"
    assert settings.site_of(check(nginx_site_server_names=["b.example", "a.example"]).values) == "80-a.example-b.example"
    assert len(settings.site_of(check(nginx_site_server_names=[f"name-{number}.example" for number in range(50)]).values)) <= 80


def shop(site: str, port: int) -> dict[str, Any]:
    """What a host has noted of the app before."""
    return {"app": "shop", "root": "/srv/shop", "site": site, "front": {"address": f"127.0.0.1:{port}", "host": "localhost"}}


@pytest.mark.parametrize(
    ("variables", "before", "left_site", "left_ports"),
    [
        ({"flask_app_mount": "/shop"}, shop("80", 80), "", []),
        ({"nginx_site_listen": "82"}, shop("81", 81), "81", [81]),
        ({"nginx_site_listen": "82"}, shop("80", 80), "80", []),
        ({"nginx_site_server_names": ["a.example"]}, shop("81", 81), "81", [81]),
        ({"flask_app_state": "absent"}, shop("81", 81), "81", [81]),
        ({"flask_app_state": "absent"}, shop("22", 22), "22", []),
    ],
)
def test_what_an_app_leaves_is_taken_away_unless_others_need_it(
    variables: dict[str, Any], before: dict[str, Any], left_site: str, left_ports: list[int]
) -> None:
    found = host()
    found["apps"]["shop"] = before
    left = derive(check(**variables).values, found, "x")
    assert (left["left_site"], left["left_ports"]) == (left_site, left_ports)
    assert left["left_site_is_shared"] is (left_site == "80")


def test_the_host_remembers_where_an_app_is_and_whose() -> None:
    found = host()
    found["apps"]["shop"] = {**shop("80", 80), "user": "shop", "group": "shop"}
    assert settings.recorded(check().values, found) == {
        "flask_app_root": "/srv/shop",
        "flask_app_user": "shop",
        "flask_app_group": "shop",
    }
    assert settings.recorded(check().values, host()) == {}


def test_an_account_of_somebody_else_is_refused() -> None:
    found = host(apps={}, account={"user": False, "group": True, "ours": False, "foreign": True})
    (problem,) = conflicts(check(flask_app_user="ubuntu").values, found)
    assert problem.startswith("flask_app_user: 'ubuntu' is an account that this collection did not make")


def test_an_app_does_not_move_to_another_root_behind_its_own_back() -> None:
    found = host(apps={"shop": shop("80", 80)})
    (problem,) = conflicts(check(flask_app_root="/opt/shop").values, found)
    assert problem.startswith("flask_app_root: got '/opt/shop', but shop is in /srv/shop")
