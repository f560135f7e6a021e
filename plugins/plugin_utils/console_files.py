# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command ``flaskops`` on a host: its program, the modules of the collection that it imports, and what completes its words in bash."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.console_words import COMPLETE, NAME
from ansible_collections.flaskops.hosting.plugins.plugin_utils.app import Copy, OnHost, Text

PACKAGE = "ansible_collections.flaskops.hosting.plugins.module_utils"
SOURCES = Path(__file__).resolve().parents[1] / "module_utils"
# As each of them writes it; parsing them all costs a run a tenth of its processor time, for each host.
IMPORT = re.compile(rf"^from {re.escape(PACKAGE)}(?: import ([\w, ]+)|\.(\w+) import .*)$", re.MULTILINE)
LIBRARY = "/usr/local/lib/flaskops"
MODULES = f"{LIBRARY}/{PACKAGE.replace('.', '/')}"
FIRST = "console"
# Without packages of the host's, which may have another ansible_collections; and without compiled files, which nobody would remove.
PROGRAM = f'''#!/usr/bin/python3 -IBS
# What people ask of an app on its host: {NAME} --help
import signal
import sys

sys.path.insert(0, "{LIBRARY}")

from {PACKAGE}.{FIRST} import main

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that `| head` ends it without words
sys.exit(main(sys.argv[1:]))
'''
COMPLETION = f"""# For bash: what completes the words of {NAME}.
_{NAME}() {{
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$({NAME} {COMPLETE} "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _{NAME} {NAME}
"""


@cache
def modules() -> list[str]:
    """The names of the modules that the program imports, however far away."""
    found: set[str] = set()
    waiting = {FIRST}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imports(name) - found
    return sorted(found)


def _imports(name: str) -> set[str]:
    """The modules of the package that one of them imports itself."""
    code = (SOURCES / f"{name}.py").read_text(encoding="utf-8")
    return {one.strip() for names, module in IMPORT.findall(code) for one in ([module] if module else names.split(","))}


def on_host() -> OnHost:
    """Its files, the same for each app. Nobody reads their code in a diff or a log."""
    code: list[Copy] = [Copy(f"{MODULES}/{name}.py", str(SOURCES / f"{name}.py"), "0644", secret=True) for name in modules()]
    return OnHost(
        [
            Text(f"/usr/local/bin/{NAME}", PROGRAM, "0755"),
            Text(f"/usr/local/share/bash-completion/completions/{NAME}", COMPLETION),
            *code,
        ]
    )
