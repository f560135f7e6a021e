"""A long task prints that it is still running, a short one prints nothing."""

from __future__ import annotations

import time

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import sign_of_life


def test_a_long_task_prints_how_long_it_has_been_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_of_life, "INTERVAL", 0.1)
    printed: list[str] = []
    with sign_of_life.sign_of_life(printed.append, "web1: shop: staging the release"):
        time.sleep(0.35)
    assert 2 <= len(printed) <= 3 and set(printed) == {"web1: shop: staging the release, 0 s so far"}
    time.sleep(0.2)
    assert len(printed) <= 3, "it goes on after the task's end"


def test_it_ends_if_the_task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_of_life, "INTERVAL", 0.05)
    printed: list[str] = []
    with pytest.raises(ValueError), sign_of_life.sign_of_life(printed.append, "shop"):
        raise ValueError
    time.sleep(0.1)
    assert printed == []
