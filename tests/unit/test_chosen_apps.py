"""One app of a host, chosen by its name."""

from __future__ import annotations

from ansible_collections.flaskops.hosting.plugins.filter.chosen_apps import FilterModule, chosen_apps

SHOP = {"flask_app_name": "shop", "flask_app_source": "/home/me/shop"}
BLOG = {"flask_app_name": "blog", "flask_app_source": "/home/me/blog"}


def test_without_a_choice_all_stay() -> None:
    assert chosen_apps([SHOP, BLOG], {}) == [SHOP, BLOG]


def test_the_chosen_one_stays_with_what_was_given() -> None:
    given = {"flask_app_name": "shop", "flask_app_source": "/tmp/next"}
    assert chosen_apps([SHOP, BLOG], given) == [given]


def test_a_host_without_the_app_has_nothing_to_do() -> None:
    assert chosen_apps([BLOG], {"flask_app_name": "shop"}) == []


def test_an_app_whose_variables_are_the_hosts_own_is_taken_for_the_chosen_one() -> None:
    assert chosen_apps([{}], {"flask_app_name": "shop"}) == [{"flask_app_name": "shop"}]


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"chosen_apps": chosen_apps}
