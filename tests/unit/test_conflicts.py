"""What of an app's settings would hurt something else on its host is rejected before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.record import Listen, NotedInstance, Record, Site
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import conflicts
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES, Topology
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

PRODUCTION = [row for row in TOPOLOGIES.values() if not row.for_development]
WITH_FRONT = [row.name for row in PRODUCTION]


def record(name: str, topology: str = "nginx_gunicorn", listen: str | int = 80, **more: Any) -> dict[str, Any]:
    """What a host has noted of an app; `port` is the app's own, `names` and `site` are its site's."""
    front = TOPOLOGIES[topology].front
    names, site, port = more.pop("names", []), more.pop("site", str(listen)), more.pop("port", "")
    sites = [Site(front=front.name, name=site, names=names, listens=[Listen.parse(str(listen))])] if front else []
    noted = {"root": f"/srv/{name}", "user": name, "group": name, "mounts": ["/"], **more}
    return Record(app=name, topology=topology, sites=sites, instances=[NotedInstance(listen=port)], **noted).to_json()


def socket(port: int, process: str, user: str = "root", address: str = "0.0.0.0", unit: str = "") -> dict[str, Any]:
    """A listening socket as the survey finds it."""
    return {"address": address, "port": port, "process": process, "user": user, "unit": unit}


def problems(topology: str, *records: dict[str, Any], facts: dict[str, Any] | None = None, **variables: Any) -> list[str]:
    """What of the app shop would hurt something else on a host with these apps."""
    host = a_host(apps={one["app"]: one for one in records}, **{"sockets": [], **(facts or {})})
    return list(conflicts(app_of(topology, **variables), host))


BLOG = record("blog", port="127.0.0.1:8001")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "flask_app_mount: / on port 80 is the app blog's"),
        ({"listen": "81", "user": "blog"}, "flask_app_user: 'blog' is the app blog's"),
        ({"listen": "81", "root": "/srv/blog"}, "flask_app_root: '/srv/blog' is the app blog's"),
        ({"listen": "81", "nginx_gunicorn_listen": "127.0.0.1:8001"}, "nginx_gunicorn_listen: 127.0.0.1:8001 is the app blog's"),
    ],
)
def test_what_another_app_has_is_rejected(variables: dict[str, Any], problem: str) -> None:
    (found,) = problems("nginx_gunicorn", BLOG, **variables)
    assert found.startswith(problem)


@pytest.mark.parametrize("variables", [{"mount": "/shop"}, {"server_names": ["shop.example"]}, {"listen": "81"}])
def test_apps_share_a_host_under_other_mounts_names_or_ports(variables: dict[str, Any]) -> None:
    assert problems("nginx_gunicorn", BLOG, **variables) == []


@pytest.mark.parametrize("topology", PRODUCTION, ids=lambda row: row.name)
def test_apps_of_any_servers_on_one_front_share_its_mounts(topology: Topology) -> None:
    for other in [row for row in PRODUCTION if row.front == topology.front]:
        blog = record("blog", other.name, mounts=["/blog", "/news"])
        assert problems(topology.name, blog) == problems(topology.name, blog, mount="/shop") == []
        (problem,) = problems(topology.name, blog, mount="/news")
        assert problem == (
            "flask_app_mount: /news on port 80 is the app blog's; give this app another flask_app_mount, flask_app_server_names or flask_app_listen"
        )


def test_more_mounts_of_uwsgi_are_mounts_too() -> None:
    blog = record("blog", mounts=["/blog"])
    assert problems("nginx_uwsgi", blog, uwsgi_app_mounts={"/news": "main:app"}) == []
    (problem,) = problems("nginx_uwsgi", blog, uwsgi_app_mounts={"/blog": "main:app", "/news": "main:app"})
    assert problem.startswith("flask_app_mount: /blog on port 80 is the app blog's")


def test_a_sites_given_name_goes_with_its_port_and_names() -> None:
    blog = record("blog", "apache_mod_wsgi", site="wsgi", mounts=["/blog"])
    assert problems("apache_mod_wsgi", blog, apache_site_name="wsgi") == []
    for given, shown in (("shop", "shop"), ("", "80")):
        (problem,) = problems("apache_mod_wsgi", blog, apache_site_name=given)
        assert problem.startswith(f"apache_site_name: got '{shown}', but the app blog is on the site 'wsgi'")
    (problem,) = problems("apache_mod_wsgi", blog, apache_site_name="wsgi", listen="81")
    assert problem.startswith("apache_site_name: got 'wsgi', but the app blog is on the site 'wsgi'")


@pytest.mark.parametrize("topology", WITH_FRONT)
def test_a_name_on_a_port_is_one_sites_alone(topology: str) -> None:
    """Of two sites with one name on one port, a web server would silently serve the first."""
    blog = record("blog", topology, names=["a.example", "b.example"], mounts=["/blog"])
    for names, listen in ((["b.example"], ["80"]), (["a.example", "b.example"], ["80", "81"])):
        (problem,) = problems(topology, blog, server_names=names, listen=listen)
        assert problem.startswith("flask_app_listen: got 80") and "the app blog answers to" in problem
    assert problems(topology, blog, server_names=["c.example"]) == problems(topology, blog, server_names=["a.example"], listen=["81"]) == []


@pytest.mark.parametrize("topology", WITH_FRONT)
@pytest.mark.parametrize(("mine", "theirs"), [("80", "[::]:80"), ("[::]:80", "80")])
def test_a_port_alone_is_that_of_both_families(topology: str, mine: str, theirs: str) -> None:
    """So two sites with one name cannot be on them, nor two without."""
    (problem,) = problems(topology, record("blog", topology, theirs, site="blog", mounts=["/blog"]), listen=mine)
    assert problem.startswith(f"flask_app_listen: got {mine}, but the app blog answers to every name on {theirs}")
    assert problems(topology, record("blog", topology, theirs, names=["blog.example"]), listen=mine) == []


@pytest.mark.parametrize(("mine", "theirs"), [("80", "0.0.0.0:80"), ("0.0.0.0:80", "[::]:80")])
def test_apache_takes_a_port_of_ipv4_or_of_both_families(mine: str, theirs: str) -> None:
    """With both it would not start, which its own test does not notice."""
    blog = record("blog", "apache_gunicorn", theirs, site="blog", names=["blog.example"])
    (problem,) = problems("apache_mod_wsgi", blog, listen=mine)
    assert problem.startswith(
        f"flask_app_listen: got {mine}, but the app blog listens on {theirs}, and Apache takes a port either of IPv4 or of both"
    )
    assert problems("nginx_gunicorn", record("blog", listen=theirs, site="blog", names=["blog.example"]), listen=mine) == []


@pytest.mark.parametrize("address", ["::", "::1", "2001:db8::7"])
def test_a_port_that_another_service_holds_on_ipv6_is_rejected(address: str) -> None:
    """A port alone needs it there too."""
    for topology in WITH_FRONT:
        (problem,) = problems(topology, facts={"sockets": [socket(80, "caddy", address=address)]})
        assert problem.startswith("flask_app_listen: port 80 is in use by caddy")
    held = {"sockets": [socket(8080, "caddy", address="2001:db8::7")]}
    (problem,) = problems("nginx_gunicorn", facts=held, listen="[2001:DB8:0::7]:8080")
    assert problem.startswith("flask_app_listen: port 8080 is in use by caddy")
    assert problems("nginx_gunicorn", facts=held, listen="[2001:db8::8]:8080") == []


@pytest.mark.parametrize("topology", WITH_FRONT)
def test_a_port_is_taken_at_all_addresses_or_at_single_ones(topology: str) -> None:
    for mine, theirs in (("8081", "10.0.0.5:8081"), ("10.0.0.5:8081", "8081")):
        (problem,) = problems(topology, record("blog", topology, theirs), listen=mine)
        assert problem.startswith(f"flask_app_listen: got {mine}, but the app blog listens on {theirs}")
    assert problems(topology, record("blog", topology, "10.0.0.5:8081"), listen="10.0.0.6:8081") == []


def test_two_fronts_do_not_mix_their_sites_but_their_ports() -> None:
    blog, facts = record("blog", "apache_mod_wsgi"), {"sockets": [socket(80, "apache2")]}
    (problem,) = problems("nginx_gunicorn", blog, facts=facts)
    assert problem.startswith("flask_app_listen: port 80 is in use by apache2 of root")
    assert problems("nginx_gunicorn", blog, facts=facts, listen="81") == []


def test_two_apps_may_each_have_a_unix_socket_of_their_own() -> None:
    assert problems("nginx_gunicorn", record("blog", listen=8000)) == []


@pytest.mark.parametrize(
    ("topology", "listen"),
    [("nginx_gunicorn", "nginx_gunicorn_listen"), ("nginx_uwsgi", "uwsgi_app_listen"), ("apache_uwsgi_mysql", "uwsgi_app_listen")],
)
def test_a_port_of_another_app_is_rejected_whatever_its_server(topology: str, listen: str) -> None:
    port: dict[str, Any] = {listen: "127.0.0.1:8930"}
    (problem,) = problems(topology, record("blog", "nginx_uwsgi", 8000, port="127.0.0.1:8930"), **port)
    assert problem == f"{listen}: 127.0.0.1:8930 is the app blog's; give this app another port"


def test_a_port_of_another_service_is_rejected() -> None:
    facts = {"sockets": [socket(80, "apache2"), socket(8080, "", "tomcat")]}
    front, backend = problems("nginx_gunicorn", facts=facts, nginx_gunicorn_listen="127.0.0.1:8080")
    assert front == "flask_app_listen: port 80 is in use by apache2 of root; stop that, or give another port"
    assert backend.startswith("nginx_gunicorn_listen: port 8080 is in use by a process of tomcat")
    facts = {"sockets": [socket(80, "nginx"), socket(8080, "", "tomcat")]}
    front, backend = problems("apache_uwsgi_mysql", facts=facts, uwsgi_app_listen="127.0.0.1:8080")
    assert front.startswith("flask_app_listen: port 80 is in use by nginx") and backend.startswith("uwsgi_app_listen: port 8080")
    (backend,) = problems("dev_server", facts={"sockets": [socket(80, "nginx"), socket(5000, "x", "y")]})
    assert backend.startswith("dev_server_listen: port 5000 is in use by x of y")


def test_every_listen_of_an_app_is_looked_at() -> None:
    (problem,) = problems("nginx_gunicorn", facts={"sockets": [socket(80, "nginx"), socket(8080, "x")]}, listen=["80", "8080"])
    assert problem.startswith("flask_app_listen: port 8080 is in use by x")


def test_a_port_that_is_ours_or_on_another_address_is_no_conflict() -> None:
    mine = record("shop", port="127.0.0.1:8080")
    held = socket(8080, "systemd", address="127.0.0.1", unit="shop-port-8080.socket")
    facts = {"sockets": [socket(80, "nginx"), held, socket(8080, "x", "y", "10.0.0.1")]}
    assert problems("nginx_gunicorn", mine, facts=facts, nginx_gunicorn_listen="127.0.0.1:8080") == []
    assert problems("apache_mod_wsgi", facts={"sockets": [socket(80, "apache2")]}) == []
    (problem,) = problems("nginx_gunicorn", facts={"sockets": [held]}, nginx_gunicorn_listen="127.0.0.1:8080")
    assert "in use by systemd of root (shop-port-8080.socket)" in problem


def test_two_apps_may_have_one_port_at_two_addresses() -> None:
    apps = [record("shop", port="127.0.0.1:8080"), record("blog", listen=81, port="127.0.0.2:8080")]
    held = [socket(8080, "systemd", address=f"127.0.0.{last}") for last in (1, 2)]
    assert problems("nginx_gunicorn", *apps, facts={"sockets": held}, nginx_gunicorn_listen="127.0.0.1:8080") == []


def test_an_app_that_moves_to_another_front_takes_its_port_along_unless_others_need_it() -> None:
    facts = {"sockets": [socket(80, "nginx")]}
    assert problems("apache_mod_wsgi", record("shop"), facts=facts) == []
    (problem,) = problems("apache_mod_wsgi", record("shop"), record("blog", mounts=["/blog"]), facts=facts)
    assert problem.startswith("flask_app_listen: port 80 is in use by nginx")
    assert problems("apache_mod_wsgi", record("shop"), record("blog", listen=81), facts=facts) == [], "the other app has another port there"


@pytest.mark.parametrize("topology", WITH_FRONT)
def test_development_and_production_do_not_share_a_host(topology: str) -> None:
    for mine, others in ((topology, "dev_server"), ("dev_server", topology)):
        (problem,) = problems(mine, record("blog", others, 8000))
        assert problem.startswith(f"flask_app_name: this host has the app blog ({others}), and a development server and production")


def test_an_app_of_which_only_its_data_is_left_is_in_nobodys_way() -> None:
    left = Record(app="blog", root="/srv/blog", user="blog", group="blog", topology="removed").to_json()
    assert problems("nginx_gunicorn", left) == problems("dev_server", left) == []


def test_the_development_server_has_no_mounts() -> None:
    (problem,) = problems("dev_server", mount="/shop")
    assert problem.startswith("flask_app_mount: got '/shop', but the development server has no mounts")


def test_an_app_in_production_gets_no_development_server_but_the_other_way_round() -> None:
    (problem,) = problems("dev_server", record("shop", "nginx_uwsgi"))
    assert problem.startswith("flask_app_name: this host has the app shop (nginx_uwsgi)")
    assert problems("nginx_uwsgi", record("shop", "dev_server")) == []
    blog = record("blog", "dev_server", port="127.0.0.1:5001")
    assert problems("dev_server", record("shop", "dev_server"), blog) == []
    (problem,) = problems("dev_server", blog, dev_server_listen="127.0.0.1:5001")
    assert problem == "dev_server_listen: 127.0.0.1:5001 is the app blog's; give this app another port"


@pytest.mark.parametrize(
    ("topology", "variables", "server"),
    [("apache_mod_wsgi", {}, "mod_wsgi"), ("nginx_uwsgi", {}, "uWSGI"), ("apache_uwsgi_mysql", {"uwsgi_app_origin": "distribution"}, "uWSGI")],
)
def test_a_server_of_the_distribution_needs_the_distributions_python(topology: str, variables: dict[str, Any], server: str) -> None:
    (problem,) = problems(topology, facts={"python": {"given": "3.12", "distribution": "3.13"}}, python="/opt/python", **variables)
    assert problem == (
        f"flask_app_python: got '/opt/python', which is Python 3.12, but the distribution's {server} is built for Python 3.13. "
        "For example:\n    flask_app_python: /usr/bin/python3"
    )
    (problem,) = problems(topology, facts={"python": {"given": "", "distribution": "3.13"}}, python="/opt/python", **variables)
    assert "but there is no such file" in problem
    assert problems(topology, python="/opt/python", **variables) == []


@pytest.mark.parametrize(("topology", "variables"), [("nginx_gunicorn", {}), ("nginx_uwsgi", {"uwsgi_app_origin": "venv"}), ("dev_server", {})])
def test_a_server_in_the_venv_takes_any_python(topology: str, variables: dict[str, Any]) -> None:
    assert problems(topology, facts={"python": {"given": "3.12", "distribution": "3.13"}}, python="/opt/python", **variables) == []


def test_an_environment_file_that_is_not_there_is_rejected_but_in_a_dry_run() -> None:
    """There, the database that has it is not there yet."""
    facts = {"files_missing": ["/etc/shop.env"]}
    (problem,) = problems("nginx_gunicorn", facts=facts)
    assert problem == "flask_app_environment_files: got '/etc/shop.env', and there is no such file on this host"
    assert problems("nginx_gunicorn", facts={**facts, "check_mode": True}) == []


def test_no_apps_tree_is_in_another_ones() -> None:
    for root in ("/srv/blog/shop", "/srv/blog/shared/x"):
        (problem,) = problems("nginx_gunicorn", record("blog", listen=81), root=root)
        assert problem.startswith(f"flask_app_root: got '{root}', but the app blog has /srv/blog, and no app's tree is in another one's")


def test_an_account_of_somebody_else_is_rejected() -> None:
    facts = {"account": {"user": False, "group": True, "ours": False, "foreign": True}}
    (problem,) = problems("nginx_gunicorn", facts=facts, user="ubuntu")
    assert problem.startswith("flask_app_user: 'ubuntu' is an account that this collection did not make")


def test_an_app_does_not_move_to_another_root_behind_its_own_back() -> None:
    (problem,) = problems("nginx_gunicorn", record("shop"), root="/opt/shop")
    assert problem.startswith("flask_app_root: got '/opt/shop', but shop is in /srv/shop")


def test_a_root_with_somebodys_files_is_rejected() -> None:
    (problem,) = problems("nginx_gunicorn", facts={"root": {"exists": True, "foreign": ["bin", "x.txt"]}}, root="/opt/tools")
    assert problem == (
        "flask_app_root: got '/opt/tools', which holds files that are not this app's (bin, x.txt); give the app a directory of its own. "
        "For example:\n    flask_app_root: /srv/shop"
    )


@pytest.mark.parametrize(("name", "version"), [("Ubuntu", "20"), ("Fedora", "43"), ("Debian", "11")])
def test_a_distribution_that_the_roles_do_not_know_is_rejected(name: str, version: str) -> None:
    (problem,) = problems("nginx_gunicorn", facts={"distribution": {"name": name, "major_version": version}})
    assert problem == f"This host runs {name} {version}, but the roles support Ubuntu 22, 24, 26; Debian 12, 13"


@pytest.mark.parametrize("key", sorted(BLOG))
def test_no_neighbours_record_stops_an_app_whatever_is_missing_from_it(key: str) -> None:
    """What cannot be known of a neighbour is no conflict."""
    blog = {name: value for name, value in BLOG.items() if name != key}
    host = a_host(apps={"blog": blog}, sockets=[])
    list(conflicts(app_of("nginx_gunicorn", mount="/shop"), host))
