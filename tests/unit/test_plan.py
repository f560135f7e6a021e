"""What a run will do for an app follows from its settings and its host."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, Record, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils import forwarded, plan, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import site_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.database import plan_database
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import NGINX, TOPOLOGIES, TopologyError, topology_of
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

WITH_FRONT = [row.name for row in TOPOLOGIES.values() if row.front]
READY = {"installed": True, "enabled": True, "incoming": "DROP"}


def planned(topology: str, host: dict[str, Any] | None = None, **variables: Any) -> dict[str, Any]:
    """The plan for the app shop."""
    return plan.plan_present(app_of(topology, **variables), host or a_host(), "192.0.2.1", "ubuntu")


def on_port(name: str, *listens: str) -> dict[str, Any]:
    """What a host has noted of an app on these listens."""
    return Record(app=name, sites=[Site(front="nginx", listens=[Listen.parse(one) for one in listens])]).to_json()


def firewall(name: str, needed: set[int], *apps: dict[str, Any], **state: Any) -> dict[str, Any]:
    """The plan for the firewall of a host with these apps."""
    host = a_host(apps={one["app"]: one for one in apps}, firewall={**READY, "ports": [22, 80], **state})
    return plan.plan_firewall(name, host, needed)


@pytest.mark.parametrize(
    ("variables", "url", "front"),
    [
        ({}, "http://192.0.2.1/", {"address": "127.0.0.1:80", "host": "localhost"}),
        ({"listen": "81"}, "http://192.0.2.1:81/", {"address": "127.0.0.1:81", "host": "localhost"}),
        ({"listen": ["8080", "80"]}, "http://192.0.2.1:8080/", {"address": "127.0.0.1:8080", "host": "localhost"}),
        ({"listen": "[::]:80"}, "http://192.0.2.1/", {"address": "[::1]:80", "host": "localhost"}),
        ({"listen": "10.0.0.5:80"}, "http://192.0.2.1/", {"address": "10.0.0.5:80", "host": "localhost"}),
        (
            {"server_names": ["*.shop.example", "shop.example", "www.shop.example"], "mount": "/a"},
            "http://shop.example/a/",
            {"address": "127.0.0.1:80", "host": "shop.example"},
        ),
    ],
)
@pytest.mark.parametrize("topology", WITH_FRONT)
def test_where_an_app_answers_follows_from_its_site(topology: str, variables: dict[str, Any], url: str, front: dict[str, str]) -> None:
    found = planned(topology, **variables)
    assert (found["url"], found["front"]) == (url, {**front, "proof": "/srv/shop"})


@pytest.mark.parametrize("topology", WITH_FRONT)
@pytest.mark.parametrize(
    ("reached_at", "listen", "url", "address"),
    [
        ("2001:db8::7", "80", "http://[2001:db8::7]/", "127.0.0.1:80"),
        ("2001:db8::7", "[2001:DB8:0::7]:8080", "http://[2001:db8::7]:8080/", "[2001:db8::7]:8080"),
        ("2001:db8::1", "[fd00::7]:8080", "http://[2001:db8::1]:8080/", "[fd00::7]:8080"),
        ("192.0.2.1", "[2001:db8::7]:8080", "http://[2001:db8::7]:8080/", "[2001:db8::7]:8080"),
        ("2001:db8::7", "192.0.2.1:8080", "http://192.0.2.1:8080/", "192.0.2.1:8080"),
        ("web.example", "[2001:db8::7]:8080", "http://web.example:8080/", "[2001:db8::7]:8080"),
        ("2001:db8::7", "[::]:8080", "http://[2001:db8::7]:8080/", "[::1]:8080"),
    ],
)
def test_an_address_of_ipv6_has_brackets_in_urls(topology: str, reached_at: str, listen: str, url: str, address: str) -> None:
    """In the record, which the end of a run and `status` show, and where the host itself asks."""
    found = plan.plan_present(app_of(topology, listen=listen), a_host(), reached_at, "ubuntu")
    assert (found["url"], found["record"]["url"], found["front"]["address"]) == (url, url, address)
    assert Record.from_json(found["record"], "shop").question()["address"] == address


@pytest.mark.parametrize(
    ("ipv6", "listen", "sockets"),
    [
        (True, ["80"], ["80", "[::]:80"]),
        (False, ["80"], ["80"]),
        (True, ["80", "[::]:80", "0.0.0.0:80"], ["0.0.0.0:80", "[::]:80"]),
        (True, ["0.0.0.0:80", "127.0.0.1:81", "[::1]:81"], ["0.0.0.0:80", "127.0.0.1:81", "[::1]:81"]),
    ],
)
def test_nginx_listens_on_a_port_in_both_families_if_the_host_has_them(ipv6: bool, listen: list[str], sockets: list[str]) -> None:
    """Each socket once, without an option that another server on it would have to repeat; what refuses unknown names is on each of them."""
    pair = {"tls": "files", "tls_certificate": "/c.pem", "tls_key": "/k.pem"}
    host, apps = a_host(ipv6=ipv6), (app_of("nginx_gunicorn", listen=listen, **pair, server_names=names) for names in ([], ["shop.example"]))
    nameless, named = (plan.plan_present(tls.with_certificate(app, host), host, "192.0.2.1", "ubuntu") for app in apps)
    secure = ["443 ssl", "[::]:443 ssl"] if ipv6 else ["443 ssl"]
    for found, options in ((nameless, " default_server"), (named, "")):
        (site,) = [entry["content"] for entry in found["files"] if entry.get("dest", "").startswith("/etc/nginx/sites-available/")]
        assert re.findall(r"listen (.*);", site) == [f"{one}{options}" for one in [*sockets, *secure]]
    refusing = [entry["content"] for entry in named["files"] if "-unknown-" in entry.get("dest", "")]
    assert [one for text in refusing for one in re.findall(r"listen (.*);", text)] == [*sockets, *secure]
    noted = Record.from_json(named["record"], "shop").sites[0].listens
    assert [str(one) for one in noted] == [*listen, "443"], "as it was given"


def test_an_app_without_a_front_answers_where_its_server_listens_and_says_how_to_get_there() -> None:
    found = planned("dev_server", dev_server_listen="[::1]:1024")
    assert (found["url"], found["front"], found["hint"]) == (
        "http://[::1]:1024/", {}, ". From your machine: ssh -L 1024:[::1]:1024 ubuntu@192.0.2.1"
    )  # fmt: skip


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_is_noted_of_an_app_can_be_read_again(topology: str) -> None:
    found = planned(topology)["record"]
    assert Record.from_json(found, "shop").to_json() == found


def test_sites_are_shared_by_apps_with_the_same_listens_and_names() -> None:
    def name(*names: str, listens: tuple[str, ...] = ("80",)) -> str:
        return site_name([Listen.parse(one) for one in listens], list(names))

    assert name() == "80"
    assert name("b.example", "a.example") == name("a.example", "b.example") == "80-a.example-b.example"
    assert name(listens=("80", "8080")) == name(listens=("8080", "80")) == "80-8080"
    assert len(name(*(f"name-{number}.example" for number in range(50)))) <= 80
    assert len({name(listens=(one,)) for one in ("80", "[::]:80", "[::1]:80", "127.0.0.1:80", "0.0.0.0:80")}) == 5


def test_an_app_moves_between_fronts_with_the_same_variables() -> None:
    variables: dict[str, Any] = {"server_names": ["shop.example"], "listen": ["80", "8080"], "static": {"/static": "static"}, "max_body": 20}
    seen = [planned(topology, **variables) for topology in WITH_FRONT]
    for one in seen[1:]:
        assert [one[key] for key in ("url", "front", "firewall_plan")] == [seen[0][key] for key in ("url", "front", "firewall_plan")]


def test_the_ports_of_ssh_are_let_in_wherever_they_are() -> None:
    assert plan.plan_firewall("shop", a_host(ssh_ports=[22, 2222]), {80})["allow"] == {"SSH": [22, 2222], "flaskops": [80]}


@pytest.mark.parametrize(
    ("name", "needed", "apps", "close"),
    [
        ("shop", {80}, [on_port("shop", "80")], []),
        ("shop", {82}, [on_port("shop", "80")], [80]),
        ("shop", {82}, [on_port("shop", "80"), on_port("blog", "80")], []),
        ("shop", {82}, [on_port("shop", "80"), on_port("blog", "127.0.0.1:80")], [80]),
        ("shop", set(), [on_port("shop", "80", "22")], [80]),
        ("shop", set(), [on_port("shop", "8081")], []),  # nobody let it in
        ("shop", set(), [], []),
    ],
)
def test_a_port_is_closed_with_its_last_app(name: str, needed: set[int], apps: list[dict[str, Any]], close: list[int]) -> None:
    assert firewall(name, needed, *apps)["close"] == close


@pytest.mark.parametrize(
    ("needed", "state", "expected"),
    [
        ({80}, {}, {"opens": False, "allow": {}, "enables": False}),
        ({80, 8080}, {}, {"opens": True, "allow": {"flaskops": [8080]}, "enables": False}),
        ({80}, {"enabled": False}, {"opens": True, "allow": {}, "enables": True}),
        ({80}, {"incoming": "ACCEPT", "ports": []}, {"opens": True, "allow": {"SSH": [22], "flaskops": [80]}, "enables": True}),
        (set(), {"ports": [80]}, {"opens": True, "allow": {"SSH": [22]}, "enables": False}),
    ],
)
def test_the_firewall_is_touched_only_if_it_must_be(needed: set[int], state: dict[str, Any], expected: dict[str, Any]) -> None:
    found = firewall("shop", needed, **state)
    assert {name: found[name] for name in expected} == expected


def test_what_listens_and_will_be_closed_is_reported_when_the_firewall_is_turned_on() -> None:
    sockets = [
        {"address": address, "port": port, "process": "java"} for address, port in (("0.0.0.0", 9200), ("::", 80), ("127.0.0.1", 9300), ("::", 22))
    ]
    host = a_host(sockets=sockets)
    assert plan.plan_firewall("shop", host, {80})["shuts"] == [{"port": 9200, "process": "java"}]
    assert plan.plan_firewall("shop", host, {80, 9200})["shuts"] == []
    assert plan.plan_firewall("shop", a_host(sockets=sockets, firewall={**READY, "ports": [22]}), {80})["shuts"] == []


def test_ports_that_an_app_names_are_allowed_and_closed_with_it() -> None:
    assert app_of("nginx_gunicorn", firewall_ports=[9100]).open_ports == {80, 9100}
    noted = planned("nginx_gunicorn", firewall_ports=[9100])["record"]
    assert noted["firewall_ports"] == [9100]
    assert firewall("shop", {80}, noted, ports=[22, 80, 9100])["close"] == [9100]


def test_a_firewall_that_is_not_ours_stays_as_it_is() -> None:
    off = planned("nginx_gunicorn", firewall=False, firewall_ports=[9100])
    assert (off["firewall_plan"]["opens"], off["firewall_plan"]["close"], off["record"]["firewall_ports"]) == (False, [], [])


@pytest.mark.parametrize(("listen", "ports"), [(["80"], {80}), (["127.0.0.1:8080", "81"], {81}), (["[::1]:80"], set())])
def test_what_only_the_host_reaches_is_not_let_in(listen: list[str], ports: set[int]) -> None:
    assert app_of("nginx_gunicorn", listen=listen).open_ports == ports


@pytest.mark.parametrize(
    ("listen", "state", "remote", "addresses", "allow"),
    [
        ("127.0.0.1", "present", False, ["127.0.0.1"], {}),
        ("::1", "present", False, ["127.0.0.1", "::1"], {}),
        ("10.0.0.5", "present", True, ["127.0.0.1", "10.0.0.5"], {"flaskops": [3306]}),
        ("0.0.0.0", "present", True, ["0.0.0.0"], {"flaskops": [3306]}),
        ("10.0.0.5", "absent", True, ["127.0.0.1", "10.0.0.5"], {}),
    ],
)
def test_where_a_database_listens(listen: str, state: str, remote: bool, addresses: list[str], allow: dict[str, list[int]]) -> None:
    host = a_host(firewall={**READY, "ports": [22]})
    found = plan_database({"mysql_webapp_listen": listen, "mysql_webapp_state": state}, host)
    assert (found["remote"], found["addresses"], found["firewall_plan"]["allow"]) == (remote, addresses, allow)


def test_an_apache_module_that_was_on_before_is_not_ours() -> None:
    def links(modules: list[str], owned: list[str]) -> set[str]:
        host = a_host(apache={"modules": modules, "sites": [], "ports": [80]}, owned_paths=owned)
        return {entry["link"].rpartition("/")[2] for entry in planned("apache_mod_wsgi", host)["files"] if "mods-enabled" in entry.get("link", "")}

    always = {"headers.load", "filter.load", "deflate.load", "deflate.conf"}
    assert links([], []) == {"wsgi.load", "wsgi.conf", *always}
    assert links(["headers", "deflate", "filter", "ssl"], []) == {"wsgi.load", "wsgi.conf"}
    assert links(["headers", "deflate", "filter", "wsgi"], ["/etc/apache2/mods-enabled/wsgi.load"]) == {"wsgi.load", "wsgi.conf"}


def test_apache_listens_where_its_apps_need_it_unless_somebody_else_has_sites() -> None:
    def files(listen: list[str], sites: list[str], owned: list[str]) -> set[str]:
        host = a_host(apache={"modules": [], "sites": sites, "ports": [80]}, owned_paths=owned)
        found = [entry["dest"] for entry in planned("apache_mod_wsgi", host, listen=listen)["files"] if "port" in entry.get("dest", "")]
        assert len(found) == len({*found})
        return {*found}

    eighty, other = (f"/etc/apache2/conf-enabled/flaskops-port-{port}.conf" for port in (80, 8081))
    ports = "/etc/apache2/ports.conf"
    assert files(["80"], ["000-default.conf"], []) == {eighty, ports}
    assert files(["8081"], [], []) == {other, ports}
    assert files(["80", "8081"], ["theirs.conf"], []) == {other}
    assert files(["80"], ["80.conf"], ["/etc/apache2/sites-enabled/80.conf"]) == {eighty, ports}
    assert files(["80"], ["theirs.conf"], [ports]) == {eighty, ports}, "what is ours already stays so"
    assert files(["80", "[::]:80", "0.0.0.0:80"], [], []) == {eighty, ports}, "Apache itself listens on both families"


@pytest.mark.parametrize("topology", WITH_FRONT)
def test_what_refuses_unknown_names_is_there_for_each_listen_of_a_site_with_names(topology: str) -> None:
    def refusing(**variables: Any) -> set[str]:
        paths = {entry.get("dest", "").rpartition("/")[2] for entry in planned(topology, **variables)["files"]}
        return {path for path in paths if "unknown" in path}

    assert refusing(listen=["80", "[::]:80"]) == set()
    both = {"flaskops-unknown-80.conf"} | ({"flaskops-unknown-all6-80.conf"} if TOPOLOGIES[topology].front is NGINX else set())
    for listen in (["80", "127.0.0.1:81"], ["80", "[::]:80", "127.0.0.1:81"]):
        assert refusing(server_names=["shop.example"], listen=listen) == {*both, "flaskops-unknown-127.0.0.1-81.conf"}


def test_a_header_is_removed_in_every_spelling() -> None:
    found = forwarded.other_spellings()
    assert {"X_Forwarded-For", "X-Forwarded_For", "X_Forwarded_For", "Script_Name"} <= set(found)
    assert not [name for name in found if "_" not in name]


def test_who_trusts_the_same_proxies_has_the_same_file() -> None:
    def files(*proxies: str) -> set[str]:
        paths = {entry.get("dest", "") for entry in planned("nginx_gunicorn", trusted_proxies=list(proxies))["files"]}
        return {path for path in paths if "flaskops-trusted" in path}

    assert len(files("10.0.0.5")) == 1 and files() == set()
    assert files("10.0.0.5", "2001:db8::/32") == files("2001:DB8::/32", "10.0.0.5/32", "10.0.0.5") != files("10.0.0.5")


def test_an_app_has_its_own_topology_or_its_hosts() -> None:
    assert topology_of("the app shop", "", "", ["web", "nginx_uwsgi"]).name == "nginx_uwsgi"
    assert topology_of("the app shop", "apache_mod_wsgi", "", ["nginx_uwsgi", "nginx_gunicorn"]).name == "apache_mod_wsgi"
    assert topology_of("the app shop", "", "nginx_gunicorn", ["nginx_uwsgi"]).name == "nginx_gunicorn"


@pytest.mark.parametrize(
    ("given", "groups", "sentence"),
    [
        ("", ["nginx_gunicorn", "apache_mod_wsgi"], "is in the groups nginx_gunicorn and apache_mod_wsgi, so the app shop must say"),
        ("", ["web"], "not set for the app shop, and its host is in none of the groups nginx_gunicorn, "),
        ("nginx_unicorn", [], "got 'nginx_unicorn', needs one of nginx_gunicorn, "),
    ],
)
def test_a_topology_that_is_not_clear_is_rejected(given: str, groups: list[str], sentence: str) -> None:
    with pytest.raises(TopologyError) as raised:
        topology_of("the app shop", given, "", groups)
    assert str(raised.value).startswith("flask_app_topology: ") and sentence in str(raised.value)


def test_nginx_of_nginx_org_reads_the_sites_by_a_file_in_its_own_directory() -> None:
    """Its account gets the group that may enter the sockets' directories, its page goes, and it runs on without our sites."""
    host = a_host(nginx={"sites_enabled": False, "welcome": True})
    found = planned("nginx_gunicorn", host)
    files = {file.get("dest", file.get("link")): file for file in found["files"]}
    assert files["/etc/nginx/conf.d/zz-flaskops-sites.conf"]["content"] == "include /etc/nginx/sites-enabled/*.conf;\n"
    assert files["/etc/nginx/conf.d/default.conf"]["state"] == "absent"
    edits = [(file["replace"], file["by"]) for file in found["files"] if "replace" in file]
    assert ("user  nginx;", "user  nginx www-data; # flaskops") in edits and len(edits) == 2
    assert [service["needs"] for service in found["services"] if service["name"] == "nginx.service"] == [""]
    debian = planned("nginx_gunicorn")
    assert not {"/etc/nginx/conf.d/zz-flaskops-sites.conf", "/etc/nginx/conf.d/default.conf"} & {file.get("dest") for file in debian["files"]}
