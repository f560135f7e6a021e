"""Secrets with every byte that somewhere means something else, and how to find a trace of them."""

from __future__ import annotations

import base64

from ansible_collections.flaskops.hosting.tests.targets.harness import Unsafe

MARK = "Zr9-Qx7vKw2m"  # in every secret, so that a trace of any of them is found
SECRETS = {
    "QUOTES": f"{MARK} \"double\" 'single' `back`",
    "SHELL": f"{MARK} $HOME ${{HOME}} $(id) %h %% %i !! ; & | > * ~ #",
    "TEMPLATE": f"{MARK} {{{{ 7 * 7 }}}} {{% raw %}} {{# none #}}",
    "BACKSLASH": f"{MARK} \\ \\\\ \\n \\x41 \\",
    "NEWLINE": f"{MARK} first\nsecond\n\n  indented\n",
    "CONTROLS": f"{MARK}\ttab\rreturn\x1bescape\x7fdelete\x01",
    "UNICODE": f"{MARK} ペン 🐙 ñ \u2028 \ufeff",
    "SPACES": f"  {MARK}  ",
    "COMMENT": f"# {MARK} ; not a comment",
    "EQUALS": f"={MARK}=a=b",
    "CONTINUED": f"{MARK} line\\\nnext",
    "LONG": (MARK + " 4 KiB ") * 216,
    "SHORT": "x",
    "EMPTY": "",
}
# Notes the arguments of every process that it sees.
WATCH = """
import glob, os, time
seen = open(os.open("/root/arguments", os.O_WRONLY | os.O_CREAT, 0o600), "wb", 0)
known = set()
while True:
    time.sleep(0.01)  # less than any program takes to start, and the run keeps the processors
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            line = open(path, "rb").read()
        except OSError:
            continue
        if line not in known:
            known.add(line)
            seen.write(line.replace(b"\\0", b" ") + b"\\n")
"""


def as_given(secrets: dict[str, str]) -> dict[str, str]:
    """The same for a variables file in which no value is a template."""
    # Ansible itself treats `!unsafe ""` as undefined
    return {name: Unsafe(value) if value else value for name, value in secrets.items()}


def leaks(text: str) -> list[str]:
    """The forms in which a text shows a secret: plain, and in base64 at each of its three offsets."""
    encoded = [base64.b64encode(b" " * shift + MARK.encode()).decode()[4 if shift else 0 : -4] for shift in range(3)]
    return [form for form in [MARK, *encoded] if form in text]
