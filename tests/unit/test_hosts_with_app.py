"""The hosts that have an app, and one of a host's apps by its name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.flaskops.hosting.plugins.filter import app_named, hosts_with_app

SHOP, BLOG = {"flask_app_name": "shop"}, {"flask_app_name": "blog"}
HOSTS: dict[str, dict[str, Any]] = {
    "both": {"flask_apps": [BLOG, SHOP]},
    "other": {"flask_apps": [BLOG]},
    "gone": {"flask_apps": [{**SHOP, "flask_app_state": "absent"}]},
    "all gone": {"flask_apps": [SHOP], "flask_app_state": "absent"},
    "plain": SHOP,
    "other plain": BLOG,
    "unknown": {},
}


def test_a_host_has_the_apps_that_its_variables_give_it() -> None:
    """In the order of the play; an app that is to be removed does not count."""
    assert hosts_with_app.hosts_with_app(HOSTS, HOSTS, "shop") == ["both", "plain", "unknown"]
    assert hosts_with_app.FilterModule().filters() == {"hosts_with_app": hosts_with_app.hosts_with_app}


def test_an_app_is_taken_by_its_name() -> None:
    assert app_named.app_named([SHOP, BLOG, {}], "blog") == BLOG
    assert app_named.app_named([SHOP, BLOG, {}], "") == {}
    with pytest.raises(AnsibleFilterError, match="2 apps have the flask_app_name 'shop'"):
        app_named.app_named([SHOP, BLOG, SHOP], "shop")
    with pytest.raises(AnsibleFilterError, match="no app has the flask_app_name 'wiki'"):
        app_named.app_named([SHOP, BLOG], "wiki")
    assert app_named.FilterModule().filters() == {"app_named": app_named.app_named}
