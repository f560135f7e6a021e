"""What each topology puts on a host, to the letter, without a host.

A change of a template or of what fills it shows as a diff of the files in tests/unit/golden.
`GOLDEN=write pytest tests/unit/test_golden.py` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import console_files, plan, tls
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import App
from ansible_collections.flaskops.hosting.plugins.plugin_utils.conflicts import DISTRIBUTIONS
from ansible_collections.flaskops.hosting.plugins.plugin_utils.topologies import TOPOLOGIES
from ansible_collections.flaskops.hosting.tests.unit.hosts import a_host, app_of

GOLDEN = Path(__file__).parent / "golden"
# Apps of one host by the name of their file; each is a topology and its variables.
CASES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    **{topology: [(topology, {})] for topology in TOPOLOGIES},
    "nginx_gunicorn-gevent-port-names-static": [
        (
            "nginx_gunicorn",
            {
                "module": "shop.web:app.server", "mount": "/shop",
                "server_names": ["shop.example", "www.shop.example"], "listen": ["80", "192.0.2.10:8080"],
                "static": {"/static": "static", "/media/": "files/media"}, "max_body": 200, "timeout": 90, "memory_max": 512, "compress": False,
                "trusted_proxies": ["10.0.0.0/16", "2001:db8::7"],
                "health_path": "/healthz?deep=1", "balancer_path": "/check",
                "nginx_gunicorn_worker_class": "gevent", "nginx_gunicorn_listen": "127.0.0.1:8080",
                "nginx_site_snippet": "gzip on;\nexpires 1h;",
            },
        )
    ],
    "nginx_uwsgi-mounts-supervisord-http": [
        (
            "nginx_uwsgi",
            {
                "static": {"/static": "static"}, "static_max_age": 31536000, "memory_max": 64,
                "uwsgi_app_mounts": {"/your/path": "main:app"}, "uwsgi_app_protocol": "http",
                "uwsgi_app_manager": "supervisord", "uwsgi_app_processes": 1, "uwsgi_app_listen": "127.0.0.1:1024",
            },
        )
    ],
    "nginx_uwsgi-venv-gevent": [
        ("nginx_uwsgi", {"module": "main:create_app('a.ini')", "uwsgi_app_origin": "venv", "uwsgi_app_worker_class": "gevent"})
    ],
    "apache_mod_wsgi-factory-names-static": [
        (
            "apache_mod_wsgi",
            {
                "module": "shop.web:create_app('production', debug=False)", "mount": "/app", "user": "wsgi", "group": "wsgi",
                "server_names": ["*.b.example", "b.example", "a.example"],
                "static": {"/static": "static"}, "listen": ["8081"], "memory_max": 256, "max_body": 0, "compress": False, "apache_site_name": "wsgi",
                "apache_site_snippet": "SetOutputFilter DEFLATE",
            },
        )
    ],
    "apache_uwsgi_mysql-php-static-port": [
        (
            "apache_uwsgi_mysql",
            {
                "mount": "/flask", "static": {"/static": "static"}, "static_max_age": 3600,
                "uwsgi_app_listen": "127.0.0.1:8930", "health_path": "/healthz", "balancer_path": "/check",
                "apache_site_php": {"/": "page", "/pages": "more"}, "apache_site_php_environment_files": ["/etc/flaskops/databases/webapp/php.env"],
                "apache_site_snippet": "SetOutputFilter DEFLATE",
            },
        )
    ],
    "apache_gunicorn-wildcard-trusted": [
        ("apache_gunicorn", {"server_names": ["*.b.example", "*.a.example"], "trusted_proxies": ["10.0.0.0/16", "2001:db8::7"]})
    ],
    "nginx_gunicorn-acme": [
        (
            "nginx_gunicorn",
            {
                "server_names": ["shop.example", "www.shop.example"], "tls": "acme", "acme_email": "me@shop.example",
                "acme_directory": "https://ca.example/dir", "acme_eab": "/home/me/eab.ini", "acme_ca_file": "/home/me/ca.pem",
            },
        )
    ],
    "apache_mod_wsgi-acme": [("apache_mod_wsgi", {"server_names": ["shop.example"], "tls": "acme", "tls_redirect": False, "tls_hsts": 0})],
    "nginx_uwsgi-files": [
        ("nginx_uwsgi", {"tls": "files", "tls_certificate": "/home/me/shop.pem", "tls_key": "/home/me/shop.key", "https_listen": ["8443"]})
    ],
    "nginx_gunicorn-balancer": [("nginx_gunicorn", {"tls": "balancer", "trusted_proxies": ["10.0.0.0/16"]})],
    "apache_gunicorn-balancer": [("apache_gunicorn", {"server_names": ["shop.example"], "tls": "balancer", "trusted_proxies": ["10.0.0.0/16"]})],
    "several-apps": [
        ("nginx_gunicorn", {"name": "shop", "server_names": ["shop.example"]}),
        ("nginx_uwsgi", {"name": "blog", "server_names": ["shop.example"], "mount": "/blog"}),
        ("apache_uwsgi_mysql", {"name": "Deep", "listen": ["127.0.0.1:8080"], "mount": "/very/deep", "uwsgi_app_protocol": "http"}),
    ],
}  # fmt: skip


def text_of(app: App, host: dict[str, Any]) -> str:
    """All that an app puts on a host, as one readable text."""
    app = tls.with_certificate(app, host)
    planned = plan.plan_present(app, host, "192.0.2.10", "ubuntu")
    release = planned["release"]
    parts = [f"######## {app.name}\npackages: {', '.join(plan.packages(app))}\n"]
    parts += [f"{name}: {planned[name]}\n" for name in ("url", "hint", "front", "certificates", "record")]
    parts += [f"service: {service}\n" for service in planned["services"]]
    parts += [f"{name}: {release[name]}\n" for name in ("instances", "server_requirements", "static", "health_host")]
    parts += [f"======== in the release: {entry['dest']}\n{entry['content']}" for entry in release["settings"]]
    for entry in planned["files"]:
        if entry.get("dest") == tls.PROGRAM:
            parts.append(f"======== {entry['dest']}: plugins/module_utils/certificates.py\n")
        elif entry.get("dest", "").startswith(console_files.MODULES):
            if entry["dest"].endswith(f"/{console_files.FIRST}.py"):
                parts.append(f"======== {entry['dest']} and what it imports\n")
        elif "file" in entry:
            parts.append(f"======== {entry['dest']} {entry['mode']}: {entry['file']}\n")
        elif "content" in entry:
            parts.append(f"======== {entry['dest']}{' ' if 'mode' in entry else ''}{entry.get('mode', '')}\n{entry['content']}")
        elif "replace" in entry:
            parts.append(f"======== in {entry['dest']}: {entry['replace']} is {entry['by']}\n")
        else:
            parts.append(f"======== {entry['link']} -> {entry['to']}\n" if "link" in entry else f"======== {entry['dest']} is not there\n")
    return "".join(parts)


@pytest.mark.parametrize("case", CASES)
def test_what_is_put_on_a_host_is_as_it_was(case: str) -> None:
    """To the letter, and the same on each distribution."""
    for distribution, versions in DISTRIBUTIONS.items():
        found = "".join(text_of(app_of(topology, **values), a_host(distribution, versions[-1])) for topology, values in CASES[case])
        path = GOLDEN / f"{case}.txt"
        if os.environ.get("GOLDEN") == "write":
            path.write_text(found, encoding="utf-8")
        assert found == path.read_text(encoding="utf-8"), f"{path.name} differs: if that is meant, GOLDEN=write pytest tests/unit/test_golden.py"


def test_no_file_is_left_of_a_case_that_went() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)
