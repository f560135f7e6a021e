"""Every molecule scenario, as a test: fresh targets, converge, converge again, reboot, verify."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.flaskops.hosting.tests.suite import each

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
ALWAYS = ("default", "site")  # in which each topology has a host
LIMIT_SECONDS = 20 * 60
# As after `. .venv/bin/activate`; plain output, because it is read in logs.
ENV = {
    **os.environ,
    "VIRTUAL_ENV": f"{ROOT}/.venv",
    "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
    "MOLECULE_COMMAND_BORDERS": "false",
    "NO_COLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    "PY_COLORS": "0",
}


@pytest.mark.molecule
@pytest.mark.parametrize("scenario", each(SCENARIOS, *ALWAYS))
def test_scenario(scenario: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`molecule test` ends well; what it says goes to a log, and its current step every quarter of a minute to the terminal."""
    log = ROOT / f".cache/logs/molecule-{scenario}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w") as out:
        run = subprocess.Popen(
            command(scenario),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=ENV,
            start_new_session=True,
        )
    try:
        while run.poll() is None:
            try:
                run.wait(timeout=15)
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - began
                assert seconds < LIMIT_SECONDS, f"molecule {scenario}: not over after {LIMIT_SECONDS} s, see {log}\n{tail(log)}"
                # The terminal itself, not what pytest captures (and keeps until the test is over).
                with capfd.disabled():
                    print(f"\nmolecule {scenario}: {seconds:.0f} s, {where(log)}", file=sys.stderr, flush=True)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait()
    assert run.returncode == 0, f"molecule {scenario} failed, the whole log: {log}\n{tail(log)}"
    assert "CRITICAL" not in log.read_text(errors="replace"), f"molecule {scenario} ended well, but see {log}"


def command(scenario: str) -> list[str | Path]:
    """What runs a scenario: for `default` what users type, for the others what our own make targets and CI run."""
    return ["molecule", "test"] if scenario == "default" else [ROOT / "dev/molecule", "test", scenario]


def tail(log: Path) -> str:
    """The end of the log, which says what went wrong."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-80:])


def where(log: Path) -> str:
    """What the scenario is at: its step, and Ansible's task."""
    step, _word, since = log.read_text(errors="replace").rpartition("] Executing")
    tasks = re.findall(r"^TASK \[(.*?)\]", since, re.MULTILINE)
    return " · ".join([step.rpartition(" ")[2], *tasks[-1:]])
