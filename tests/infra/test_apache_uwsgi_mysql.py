"""A product is entered in the page, stored in the database, and shown by the app."""

from __future__ import annotations

import http.client
import json
import re
from urllib.parse import urlencode

from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.infra.facts import Fact, address, ask, whole


@whole("database")
def test_what_is_entered_is_shown(host: Host, fact: Fact) -> None:
    """As JSON, with no character escaped."""
    entered = fact.what["entered"]
    before = json.loads(ask(host, fact.topology, 80, "/flask/")[2])
    _status, headers, page = ask(host, fact.topology, 80, "/")
    token = re.search(r'name="token" value="(\w+)"', page)
    assert token, page
    connection = http.client.HTTPConnection(address(host), 80, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": headers["Set-Cookie"].partition(";")[0]}
    connection.request("POST", "/", urlencode({**entered, "token": token[1]}), form)
    assert connection.getresponse().status == 303
    body = ask(host, fact.topology, 80, "/flask/")[2]
    added = [product for product in json.loads(body) if product not in before]
    assert [{key: product[key] for key in entered} for product in added] == [entered]
    assert entered["name"] in body
