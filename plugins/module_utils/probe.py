# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pre-flight: runs inside a release's own venv, so it uses the standard library only.

Imports the app as a WSGI server does and requests its health path, if there is one. Standard input is this file; the
arguments are the module, the callable, the mount, the health path or nothing, and the host name. The verdict goes to
what was standard error as a line of JSON; what the app prints goes to standard output, so that it cannot be mistaken
for the verdict. If the app has left something to run on in the background, which could still end the process,
``{"settling": true}`` comes first.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

PARENT = 2  # the file descriptor that the verdict goes to
REASON_AT_MOST, LOG_AT_MOST = 1024, 8192  # characters: the pipe to the parent holds all of it
SETTLING = 3  # seconds that an app with threads, timers or processes of its own must live on


def tell(**facts: object) -> None:
    """Tell the parent."""
    os.write(PARENT, json.dumps(facts, ensure_ascii=False).encode(errors="replace") + b"\n")


def verdict(ok: bool, reason: str, log: str) -> None:
    """Tell the parent and end at once, whatever threads the app has started."""
    sys.stdout.flush()
    sys.stderr.flush()
    if len(reason) > REASON_AT_MOST or len(log) > LOG_AT_MOST:
        # the parent could not hide half of a secret
        for value in sorted((value for value in os.environ.values() if len(value) >= 4), key=len, reverse=True):
            reason, log = reason.replace(value, "…"), log.replace(value, "…")
    if len(reason) > REASON_AT_MOST:
        reason = f"{reason[:REASON_AT_MOST]}… (over {REASON_AT_MOST} characters)"
    tell(ok=ok, reason=reason, log=log[-LOG_AT_MOST:])
    os._exit(0)


def goes_on_in_the_background() -> bool:
    """Return whether anything but this thread could still end the process: another thread, a child, a timer."""
    threads = os.listdir("/proc/self/task")
    return len(threads) > 1 or any(map(children_of, threads)) or signal.getitimer(signal.ITIMER_REAL)[0] > 0


def children_of(thread: str) -> str:
    """The processes that a thread has started; none if it has ended since it was seen."""
    try:
        return open(f"/proc/self/task/{thread}/children", encoding="ascii").read()
    except OSError:
        return ""


def find_callable(module: str, name: str) -> object:
    """Import the module and return its WSGI callable; ``create_app()`` and ``create_app('text')`` call a factory."""
    try:
        found = importlib.import_module(module)
    except BaseException as error:  # an app may well call sys.exit() when a setting is missing
        verdict(ok=False, reason=f"importing {module} raised {type(error).__name__}: {error}", log=traceback.format_exc())
    attribute, _dot, inner = name.partition("(")[0].partition(".")
    if not hasattr(found, attribute):
        callables = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        verdict(ok=False, reason=f"{module} has no {attribute!r}; it has {', '.join(sorted(callables)) or 'no callable'}", log="")
    app = getattr(found, attribute)
    for part in inner.split(".") if inner else []:
        if not hasattr(app, part):
            verdict(ok=False, reason=f"{module}:{attribute} has no {part!r}", log="")
        attribute, app = f"{attribute}.{part}", getattr(app, part)
    if not callable(app):
        verdict(ok=False, reason=f"{module}:{attribute} is a {type(app).__name__}, not a WSGI callable", log="")
    if not name.endswith(")"):
        return app
    call: Any = ast.parse(name, mode="eval").body
    try:
        app = app(*map(ast.literal_eval, call.args), **{one.arg: ast.literal_eval(one.value) for one in call.keywords})
    except BaseException as error:
        verdict(ok=False, reason=f"{name} raised {type(error).__name__}: {error}", log=traceback.format_exc())
    return app


def ask(app: object, mount: str, path: str, host: str) -> tuple[str, str]:
    """Ask the app for a path as the front would; returns the status line and what the app wrote to wsgi.errors."""
    errors = io.StringIO()
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
        statuses.append(status)
        return lambda data: None

    path, _mark, query = path.partition("?")
    answer = app(  # type: ignore[operator]
        {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "" if mount == "/" else mount,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": host,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": host,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": errors,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": True,
        },
        start_response,
    )
    for _chunk in answer:
        pass
    if hasattr(answer, "close"):
        answer.close()
    return (statuses or ["no status"])[-1], errors.getvalue()


def main() -> None:
    """Import, ask, tell."""
    module, name, mount, path, host = sys.argv[1:]
    sys.path[0] = os.getcwd()
    app = find_callable(module, name)
    status, errors = "2", ""
    try:
        if path:
            status, errors = ask(app, mount, path, host)
    except BaseException as error:
        verdict(ok=False, reason=f"{path} raised {type(error).__name__}: {error}", log=traceback.format_exc())
    if status[:1] == "2" and goes_on_in_the_background():
        tell(settling=True)
        time.sleep(SETTLING)
    verdict(ok=status[:1] == "2", reason=f"{path} answered {status}", log=errors)


if __name__ == "__main__":
    PARENT = os.dup(2)
    os.dup2(1, 2)
    main()
