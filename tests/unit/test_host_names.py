"""Host names in any script and of any legal length."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils.host_names import ascii_name, is_host_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.plan import plan_present
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("shop.example", "shop.example"),
        ("WWW.Shop.Example", "www.shop.example"),
        ("*.Shop.example", "*.shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.ペン.example", "*.xn--xdk7b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.10", "192.0.2.10"),
        ("localhost", "localhost"),
        (LONGEST, LONGEST),
    ],
)
def test_a_name_is_written_as_browsers_send_it(given: str, written: str) -> None:
    assert ascii_name(given) == written


NONE = ["", "*", "*.", "a..b", ".a", "a.", "-a.example", "a-.example", "a_b.example", "a b", "a;b", "www.*.example", "a" * 64, "ü" * 60]


@pytest.mark.parametrize("given", [*NONE, f"{LONGEST}e"])
def test_what_is_no_name_is_rejected(given: str) -> None:
    assert not is_host_name(given)


def written_by(topology: str, names: list[str]) -> dict[str, str]:
    """The content of each file of an app with these names."""
    planned = plan_present(app_of(topology, server_names=names), a_host(), "192.0.2.10", "ubuntu")
    return {entry["dest"]: entry["content"] for entry in planned["files"] if "content" in entry}


@pytest.mark.parametrize(("topology", "directive"), [("nginx_gunicorn", "server_name"), ("apache_gunicorn", "ServerName")])
def test_a_front_gets_punycode(topology: str, directive: str) -> None:
    sites = [content for path, content in written_by(topology, ["Bücher.example"]).items() if "/sites-available/" in path]
    assert [f"{directive} xn--bcher-kva.example" in site for site in sites] == [True]


@pytest.mark.parametrize("names", [[LONGEST], [f"shop-{number}.example" for number in range(300)]])
def test_nginx_gets_room_for_long_and_many_names(names: list[str]) -> None:
    room = "/etc/nginx/conf.d/flaskops-names.conf"
    assert "server_names_hash_bucket_size 512;" in written_by("nginx_gunicorn", names)[room]
    assert room not in written_by("nginx_gunicorn", ["shop.example"])
