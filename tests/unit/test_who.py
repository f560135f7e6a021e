"""Who runs Ansible, and where, as it is noted of a release."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.action.release import user_at_machine


@pytest.mark.parametrize(("user", "shown"), [("ada", "ada@laptop"), ("ペン", "ペン@laptop"), ("a\x1b[2J\nb", "a[2Jb@laptop"), ("x" * 200, "x" * 100)])
def test_it_is_short_and_can_be_shown(monkeypatch: pytest.MonkeyPatch, user: str, shown: str) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: user)
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    assert user_at_machine() == shown


def test_an_account_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", fail)
    monkeypatch.setattr("os.getuid", lambda: 1234)
    assert user_at_machine().startswith("1234@")
