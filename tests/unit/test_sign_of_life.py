"""A long task tells that it is alive, a short one says nothing."""

from __future__ import annotations

import time

import pytest

from ansible_collections.flaskops.hosting.plugins.plugin_utils import sign_of_life


def test_a_long_task_tells_how_long_it_takes_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_of_life, "INTERVAL", 0.1)
    told: list[str] = []
    with sign_of_life.sign_of_life(told.append, "web1: shop: staging the release"):
        time.sleep(0.35)
    assert 2 <= len(told) <= 3 and set(told) == {"web1: shop: staging the release, 0 s so far"}
    time.sleep(0.2)
    assert len(told) <= 3, "it goes on after the task's end"


def test_a_task_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_of_life, "INTERVAL", 0.05)
    told: list[str] = []
    with pytest.raises(ValueError), sign_of_life.sign_of_life(told.append, "shop"):
        raise ValueError
    time.sleep(0.1)
    assert told == []
