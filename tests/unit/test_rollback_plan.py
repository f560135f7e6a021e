"""A rollback means the same build on every host, on all of them or on none."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.filter.rollback_plan import FilterModule, rollback_plan


def host(*releases: str, previous: str = "", **facts: dict[str, Any]) -> dict[str, Any]:
    """A host with releases that went live one after the other, the last one live; facts by the release's build change them."""
    shown = [{"name": name, "live": f"2026-11-{day:02}", "failed": "", "fits": True} for day, name in enumerate(releases, 1)]
    shown = [{**one, **facts.get(str(one["name"]).partition("-")[0], {})} for one in shown]
    return {"__host": {"apps": {"shop": {"live": releases[-1], "previous": previous, "releases": shown}}}}


NONE: dict[str, Any] = {"__host": {"apps": {}}}
TWO = {"web1": host("a-1", "b-1", "c-1", previous="b-1"), "web2": host("a-2", "b-2", "c-2", previous="b-2")}


def planned(hosts: dict[str, Any], release: str = "", left: list[str] | None = None) -> dict[str, Any]:
    """The plan for the shop."""
    return rollback_plan(hosts, hosts, hosts if left is None else left, "shop", release)


@pytest.mark.parametrize(
    ("release", "goes"), [("", ["b-1", "b-2"]), ("a", ["a-1", "a-2"]), ("a-1", ["a-1", "a-2"]), ("b-2", ["b-1", "b-2"]), ("c", ["c-1", "c-2"])]
)
def test_a_build_or_a_release_of_one_host_means_the_same_on_all(release: str, goes: list[str]) -> None:
    """A host without the app is left alone."""
    assert planned({**TWO, "web3": NONE}, release) == {"problems": [], "releases": dict(zip(TWO, goes, strict=True))}
    assert FilterModule().filters() == {"rollback_plan": rollback_plan}


def test_of_several_releases_of_a_build_the_name_says_how_far_back() -> None:
    """Each has another configuration, whose name differs between the hosts."""
    hosts = {"web1": host("a-1", "a-2", "a-3"), "web2": host("a-7", "a-8", "a-9")}
    assert planned(hosts, "a-2")["releases"] == {"web1": "a-2", "web2": "a-8"}
    assert planned(hosts, "a-7")["releases"] == {"web1": "a-1", "web2": "a-7"}
    assert planned(hosts, "a")["releases"] == {"web1": "a-3", "web2": "a-9"}


@pytest.mark.parametrize(
    ("second", "release", "problems"),
    [
        (host("b-2", "c-2"), "a-1", ["flask_app_release: got 'a-1', which is no release that was live on web2", "newest first: b. For example"]),
        (host("a-2", "c-2", a={"failed": "no"}), "a-1", ["flask_app_release: got 'a-1', which failed before on web2", "No other"]),
        (host("a-2", "c-2", a={"live": ""}), "a", ["flask_app_release: got 'a', which was never live on web2", "No other"]),
        (host("a-2", "c-2", a={"fits": False}), "a", ["which the web server does not reach as it is configured now on web2", "No other"]),
        (
            host("d-2"),
            "nothing-1",
            ["'nothing-1', which is no release that was live on web1", "was live on web2", "No other build was live on all of them"],
        ),
        (host("d-2"), "", ["web2: there is no good release to go back to"]),
        (
            host("a-2", "c-2", previous="a-2"),
            "",
            ["The hosts would go back to different builds: web1 to b-1, web2 to a-2", "first: a. For example: -e flask_app_release=a"],
        ),
    ],
)
def test_one_host_that_cannot_keeps_all_from_it(second: dict[str, Any], release: str, problems: list[str]) -> None:
    found = planned({**TWO, "web2": second}, release)["problems"]
    assert len(found) == len(problems) and all(words in problem for problem, words in zip(found, problems, strict=True)), found


def test_so_does_one_that_was_not_reached() -> None:
    assert planned(TWO, left=["web1"])["problems"] == ["web2: failed or was not reached; to leave it out: --limit 'all:!web2'"]
    (said,) = planned({"web1": NONE})["problems"]
    assert said.startswith("flask_app_name: shop has no live release on these hosts")
