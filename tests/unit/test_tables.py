"""What the playbooks show of all hosts and apps."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.hosting.plugins.filter import live_table, status_table

COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"


def answers(**apps: str) -> dict[str, Any]:
    """What the run has noted of a host's apps."""
    return {app: {"url": "http://x/", "release": release} for app, release in apps.items()}


def there(**topologies: str) -> dict[str, Any]:
    """What the survey has found on a host."""
    return {"apps": {app: {"topology": topology} for app, topology in topologies.items()}}


NEIGHBOURS = there(shop="a", blog="a", old="removed")
HOSTS: dict[str, dict[str, Any]] = {
    "web1": {"flask_apps": [{"flask_app_name": "shop"}], "__flask_app_answers": answers(shop="one"), "__flask_app": NEIGHBOURS},
    "web2": {"flask_app_name": "wiki", "__flask_app_answers": answers(wiki="two"), "__flask_app": there(wiki="a")},
    "dead": {"__flask_app_answers": answers(shop="one")},
    "empty": {"flask_apps": []},
}  # fmt: skip
LEFT = ["web1", "web2", "empty"]


def test_the_end_of_a_run_shows_what_it_does_not_know_and_could_not_reach() -> None:
    assert live_table.live_table(HOSTS, HOSTS, LEFT) == [
        "host  app   answers at  live release",
        "web1  shop  http://x/   one",
        "web1  blog  is not in the inventory; remove it with ansible-playbook flaskops.hosting.remove -e flask_app_name=blog",
        "web2  wiki  http://x/   two",
        "dead  shop  http://x/   one",
        "dead  failed or was not reached, see above",
    ]
    assert live_table.FilterModule().filters() == {"live_table": live_table.live_table}


def test_a_run_for_one_app_says_nothing_of_others() -> None:
    shown = live_table.live_table(["web1"], HOSTS, LEFT, "would be live", False)
    assert shown == ["host  app   answers at  would be live", "web1  shop  http://x/   one"]


def app(live: str, **facts: Any) -> dict[str, Any]:
    """An app as the survey shows it."""
    release = {"name": live, "version": COMMIT, "by": "ada@mac"}
    return {"url": "http://x/", "live": live, "live_since": "2026-11-21T08:00:00Z", "maintenance": False, "releases": [release], **facts}


def test_the_status_shows_certificates_if_there_are_any() -> None:
    told = {"shop": {"days": 89, "error": ""}, "blog": {"days": 9, "error": "the CA says no"}, "new": {"error": "the CA says no"}, "plain": {}}
    apps = {name: app("one", certificate=one) for name, one in told.items()}
    apps["blog"]["database_certificate"] = told["shop"]
    apps["data"] = app("one", certificate={}, database_certificate=told["blog"])
    heading, *lines = status_table.status_table(["web1"], {"web1": {"__host": {"apps": apps}}}, ["web1"])
    place = heading.index("certificate")
    assert [line[place:].split("  ")[0] for line in lines] == [
        "89 days", "9 days, error, database 89 days", "missing", "-", "database 9 days, error"
    ]  # fmt: skip


def test_the_status_is_a_table() -> None:
    running = {"health": "200 OK", "processes": {"web": "active", "rq": "x"}}
    apps = {"shop": app("one", **running), "blog": app("two", **{**running, "maintenance": True, "health": "x" * 99})}
    hosts = {"web1": {"__host": {"apps": apps}}, "web2": {"__host": {"apps": {"new": app("", live_since="", releases=[])}}}, "web3": {}}
    assert status_table.status_table([*hosts, "web4"], {**hosts, "web4": {"__host": {"apps": {}}}}, ["web1", "web2", "web4"]) == [
        "host  app   URL        health                                    live release  since              version       by       processes",
        "web1  shop  http://x/  200 OK                                    one           2026-11-21T08:00Z  3f786850e387  ada@mac  web=active,rq=x",
        f"web1  blog  http://x/  closed, {'x' * 31}…  two           2026-11-21T08:00Z  3f786850e387  ada@mac  web=active,rq=x",
        "web2  new   http://x/  -                                         -             -                  -             -        -",
        "web3  failed or was not reached, see above",
        "web4  has no app",
    ]
    assert status_table.FilterModule().filters() == {"status_table": status_table.status_table}


def test_the_status_of_one_app_is_a_row_of_it() -> None:
    hosts = {"web1": {"__host": {"apps": {"shop": app("one", maintenance=True, health="200 OK"), "blog": app("two")}}}}
    shown = status_table.status_table(hosts, hosts, hosts, "shop")
    assert len(shown) == 2 and "closed, 200 OK" in shown[1]
    assert status_table.status_table(hosts, hosts, hosts, "wiki")[1] == "web1  has no app wiki"
