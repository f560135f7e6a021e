"""The command ``flaskops`` on a host, as people type it there, or from their machine by ssh."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import time
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.tests.targets.harness import ROOT, SSH_OPTIONS, Target, app, eventually, missing, write_source

ADDRESS = "198.18.2.192"
SECRET = "correct horse 'battery' staple"
MAIN = """
import os, sys
from flask import Flask

app = Flask(__name__)
print("web has", os.environ["PASSWORD"], file=sys.stderr)


@app.get("/")
def index():
    return "fine"
"""
LOOP = "import os, time\nprint('loop has', os.environ['PASSWORD'], flush=True)\ntime.sleep(3600)\n"
TIDY = """
import os, sys, time
from pathlib import Path

takes = Path("shared/takes")
print("tidy has", os.environ["PASSWORD"], flush=True)
time.sleep(int(takes.read_text()) if takes.exists() else 0)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """An app with Flask, a worker and jobs. What is in no sandbox of its own is asked in test_workers.py."""
    files = {"main.py": MAIN, "loop.py": LOOP, "tidy.py": TIDY, "requirements.txt": "flask==3.1.3\n"}
    shop = write_source(tmp_path_factory.mktemp("shop"), files)
    jobs = {name: {"command": f"python tidy.py {code}", "schedule": "yearly"} for name, code in {"tidy": 0, "broken": 3}.items()}
    more = {"workers": {"loop": {"command": "python loop.py", "settle": 0}}, "jobs": jobs, "shared": ["shared"], "secrets": {"PASSWORD": SECRET}}
    return [app("shop", shop, requirements="auto", environment={"GREETING": "hello"}, **more)]


@pytest.fixture(scope="module")
def host(target: Target, apps: list[dict[str, Any]]) -> Target:
    """A host with it."""
    target.converge(apps)
    return target


def ask(host: Target, words: str, stdin: str = "") -> tuple[int, str]:
    """Run the command as root without a terminal; returns its exit code and all that it wrote."""
    *shown, code = host.run(f'flaskops {words} 2>&1; echo "\n$?"', stdin=stdin).split("\n")
    return int(code), "\n".join(shown).rstrip()


class Terminal:
    """A terminal on the controller, in which one line is typed."""

    def __init__(self, host: Target, command: str) -> None:
        key = ROOT / ".cache/ssh/id_ed25519"
        self.end, other = pty.openpty()
        words = ["ssh", "-t", "-i", str(key), *shlex.split(SSH_OPTIONS), f"ubuntu@{host.address}", command]
        self.process = subprocess.Popen(words, stdin=other, stdout=other, stderr=other, start_new_session=True, env={**os.environ, "TERM": "xterm"})
        os.close(other)
        self.seen = ""

    def type(self, text: str, until: str) -> None:
        """Type something, and read what comes until it has these words."""
        os.write(self.end, text.encode())
        deadline = time.monotonic() + 20
        while until not in self.seen:
            ready, _none, _none = select.select([self.end], [], [], 1)
            assert time.monotonic() < deadline, self.seen
            if ready:
                self.seen += os.read(self.end, 4096).decode(errors="replace")
        self.seen = self.seen.partition(until)[2]

    def leave(self, text: str) -> int:
        """Type the last words, and return the exit code."""
        os.write(self.end, text.encode())
        try:
            return self.process.wait(20)
        finally:
            os.close(self.end)


def test_status_workers_and_env(host: Target) -> None:
    live = host.live("shop")
    code, shown = ask(host, "shop status")
    words = [
        f"shop answers http://{ADDRESS}/ (nginx_gunicorn), health 200 OK", f"live: {live} since 20", "process web: active",
        "worker loop-1: active since ", "job tidy: waits, never ran, next ", f"release {live}: live 20", "log: 20",
    ]  # fmt: skip
    assert (code, missing(shown, words), SECRET in shown) == (0, [], False), shown
    code, shown = ask(host, "shop workers")
    assert (code, shown.startswith("loop-1: active since "), shown.endswith(", restarts 0")) == (0, True, True), shown
    assert ask(host, "shop env") == (0, "GREETING\nPASSWORD")
    assert ask(host, "shop env --show") == (0, f"GREETING=hello\nPASSWORD={shlex.quote(SECRET)}")
    host.run(f"systemctl stop shop.loop-1@{live}.service")
    assert [ask(host, f"shop {command}")[0] for command in ("status", "workers")] == [1, 1]
    host.run(f"systemctl start shop.loop-1@{live}.service")


def test_run_is_as_the_app_with_its_streams_and_its_code(host: Target) -> None:
    """And in its sandbox; without a terminal, a pipe of bytes stays as it is."""
    script = "cat; id -un; pwd; command -v flask; echo $GREETING $FLASKOPS_PHASE '$$' %h; touch /etc/x; kill -0 1; exit 7"
    code, shown = ask(host, f"shop run -- sh -c {shlex.quote(script)}", stdin="given\n")
    path = f"/srv/shop/releases/{host.live('shop')}"
    expected = ["given", "shop", f"{path}/code", f"{path}/.venv/bin/flask", "hello command $$ %h"]
    assert (code, shown.splitlines()[:5]) == (7, expected), shown
    assert missing(shown, ["Read-only file system", "ermi"]) == [], shown
    sums = host.run("head -c 3000000 /dev/urandom >/tmp/bytes; flaskops shop run -- cat </tmp/bytes | cmp - /tmp/bytes && echo the same")
    assert sums == "the same"
    assert ask(host, "shop run -- sh -c 'kill -9 $$'")[0] == 128 + 9
    nobody_reads = "bash -c 'flaskops shop env --show | (exec <&-; sleep 2); echo ${PIPESTATUS[0]}' 2>&1"
    assert host.run(nobody_reads) == str(128 + signal.SIGPIPE)


IN_UNIT = """
import sys
sys.path.insert(0, "/usr/local/lib/flaskops")
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import run_in_unit
print(run_in_unit("slow", ["printf", "%s|", *sys.argv[1:]], ["ExecStartPre=/bin/sleep 2"], 20))
"""


def test_systemd_reads_all_units_anew_while_one_starts(host: Target) -> None:
    """As each installation of a package makes it. The command keeps its words."""
    words = ["$HOME", "$$", "$1", "%h", "a\\b", '"', "`id`"]
    shown = host.run(f"(sleep 1; systemctl daemon-reload) & python3 -BS - {shlex.join(words)}", stdin=IN_UNIT)
    assert shown == repr((0, "".join(f"{word}|" for word in words)))


def test_what_is_interrupted_leaves_nothing(host: Target) -> None:
    host.run("flaskops shop run -- sleep 999 & sleep 2; kill -TERM $!; wait $! || true")
    assert eventually(lambda: not host.succeeds("pgrep -f '[s]leep 999'"))
    assert not host.succeeds("ls /run/systemd/transient | grep console")


def test_flask_shell_by_one_ssh_line(host: Target) -> None:
    """A terminal, in which an interrupt does not end the shell."""
    terminal = Terminal(host, "sudo flaskops shop shell")
    terminal.type("", ">>> ")
    terminal.type("print(6 * 7, app.name, len(__import__('os').environ['PASSWORD']))\r", f"42 main {len(SECRET)}")
    terminal.type("", ">>> ")
    terminal.type("import sys, time; print('be' + 'gins'); time.sleep(60)\r", "begins")
    terminal.type("\x03", "KeyboardInterrupt")
    terminal.type("", ">>> ")
    terminal.type("print(sys.stdin.isatty(), 'tty')\r", "True tty")
    assert terminal.leave("sys.exit(5)\r") == 5
    code, shown = ask(host, "shop shell", stdin="print(app.name, 6 * 7)\n")
    assert (code, "main 42" in shown) == (0, True), shown


def test_logs_are_without_secrets(host: Target) -> None:
    for process in ("web", "loop"):
        code, shown = ask(host, f"shop logs {process}")
        assert (code, missing(shown, [f"{process} has <PASSWORD>"]), SECRET in shown) == (0, [], False), shown
    shown = host.run("timeout 3 flaskops shop logs -f -n 500 loop & sleep 1; systemctl restart 'shop.loop-1@*'; wait || true")
    assert (shown.count("loop has <PASSWORD>") > 1, SECRET in shown) == (True, False), shown
    assert ask(host, "shop logs -n 2 | wc -l") == (0, "2")


def test_a_job_runs_now_and_tells_its_code(host: Target) -> None:
    """While it runs, it is not begun again."""
    for name, code, words in (("tidy", 0, ""), ("broken", 3, "flaskops: the job broken failed: exit-code\n")):
        ended, shown = ask(host, f"shop job run {name}")
        assert (ended, missing(f"{shown}\n", ["tidy has <PASSWORD>\n", words])) == (code, []), shown
    host.run("echo 4 >/srv/shop/shared/shared/takes; systemctl start --no-block shop.tidy; sleep 1")
    assert ask(host, "shop job run tidy") == (1, "flaskops: the job tidy runs already; to see it: flaskops shop logs -f tidy")


def test_who_is_not_root_is_refused(host: Target) -> None:
    shown = host.run("runuser -u ubuntu -- flaskops shop env --show 2>&1; echo $?")
    assert shown == "flaskops: this needs root. Type: sudo flaskops shop env --show\n1"


def test_bash_completes_its_words(host: Target) -> None:
    """As bash-completion has it loaded when the command is first typed."""
    typed = {"": "shop", "shop l": "logs", "shop logs l": "loop", "shop job run ": "broken tidy", "shop run ": "--"}
    for line, expected in typed.items():
        words = ["flaskops", *line.split(" ")]
        script = f". /usr/local/share/bash-completion/completions/flaskops; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _flaskops"
        shown = host.run(f"bash -c {shlex.quote(script + '; echo ${COMPREPLY[*]}')}")
        assert shown == expected, line


def test_it_goes_with_the_last_app(host: Target, apps: list[dict[str, Any]]) -> None:
    """And leaves nothing, whoever has used it."""
    host.converge([{**one, "flask_app_state": "absent", "flask_app_remove_data": True} for one in apps])
    left = host.run("find /usr/local -path '*flaskops*' -o -path '*bash-completion*'")
    assert left == ""
