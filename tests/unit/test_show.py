"""The table of the demo: its apps, and what they run beside their web servers."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BLOG = {"topology": "nginx_gunicorn", "app": "blog", "url": "http://192.0.2.10/", "live": "", "health": "", "workers": {}, "jobs": {}}
SHOP = {
    **BLOG,
    "app": "shop",
    "live": "3f786850e387-89e6c98d",
    "health": "200 OK",
    "workers": {"rq-1": {"state": "active"}, "rq-2": {"state": "restarting"}},
    "jobs": {"tidy": {"state": "waits", "result": ""}, "mail": {"state": "waits", "result": "success"}},
}


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script dev/show as a module."""
    spec = importlib.util.spec_from_loader("show", SourceFileLoader("show", str(ROOT / "dev/show")))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def test_it_shows_each_app_with_its_workers_and_jobs(show: ModuleType) -> None:
    bare = {key: value for key, value in BLOG.items() if key not in ("workers", "jobs")}  # an app without a live release
    assert show.table([SHOP, bare]) == [
        "topology        app   URL                 live release           health  workers and jobs",
        "nginx_gunicorn  shop  http://192.0.2.10/  3f786850e387-89e6c98d  200 OK  rq-1=active,rq-2=restarting,tidy=waits,mail=success",
        "nginx_gunicorn  blog  http://192.0.2.10/  -                      -       -",
    ]


def test_the_demo_has_an_app_with_a_worker_and_a_job() -> None:
    apps = yaml.safe_load((ROOT / "inventories/docker/apps.yml").read_text())["nginx_gunicorn"]["vars"]["flask_apps"]
    assert [app["flask_app_name"] for app in apps if app.get("flask_app_workers") and app.get("flask_app_jobs")] == ["flasksample"]
