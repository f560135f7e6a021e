# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a failed build failed of, in a sentence, from the output of uv and of what it has called."""

from __future__ import annotations

import re

ADVICE = "flask_app_system_packages"
# What the output of compilers and build tools says, and what that means for whoever wrote the requirements.
SIGNS = (
    (re.compile(r"fatal error: (Python\.h): No such file"), f"Python's header files are missing; add python3-dev to {ADVICE}"),
    (re.compile(r"fatal error: (\S+): No such file"), f"the header file {{}} is missing; add the package that has it to {ADVICE}"),
    (re.compile(r"No such file or directory: '(\S*(?:gcc|cc|g\+\+|clang))'"), f"the compiler {{}} is missing; add build-essential to {ADVICE}"),
    (re.compile(r"(?i)(you need a C compiler|no acceptable C compiler found)"), f"a C compiler is missing; add build-essential to {ADVICE}"),
    (re.compile(r"(?m)(?:cannot find|ld: cannot find) -l(\S+)"), f"the library {{}} is missing; add the package that has it to {ADVICE}"),
    (re.compile(r"(?m)^\s*(?:/bin/)?sh: \d+: ([\w.+-]+): not found"), f"the program {{}} is missing; add the package that has it to {ADVICE}"),
    (
        re.compile(r"(?i)\b(\S+_config|rustc|cargo|cmake|pkg-config)\b.* not found"),
        f"the program {{}} is missing; add the package that has it to {ADVICE}",
    ),
    (re.compile(r"No space left on device"), "no space is left on the disk"),
)
EXCEPTION = re.compile(r"(?m)^\s+(?:\w+\.)*(\w*(?:Error|Exception|Exit): \S.*)$")


def cause(output: str) -> str:
    """The cause that an output of uv shows: what is missing, which requirements clash; else uv's own words, or the last line."""
    signs = ((found, text) for pattern, text in SIGNS for found in [pattern.search(output)] if found)
    for found, text in signs:
        return text.format(*found.groups())
    raised = EXCEPTION.findall(output)
    said = _words_of_uv(output)
    if raised and said.startswith("Failed to build"):
        said = f"{said.partition(':')[0]}: {raised[-1]}"
    return (said or (output.strip().splitlines() or ["it ended without a word"])[-1].strip()).rstrip(".")


def _words_of_uv(output: str) -> str:
    """Uv's `error:` and the `cause:` below it, whose lines go on further to the right."""
    lines = iter(output.splitlines())
    error = next((line[len("error: ") :] for line in lines if line.startswith("error: ")), "")
    words: list[str] = []
    for line in lines:
        if line.startswith("  cause: ") and not words:
            words.append(line[len("  cause: ") :])
        elif words and line.startswith(" " * 9) and line.strip():
            words.append(line.strip())
        else:
            break
    return ": ".join(part for part in (error, " ".join(words)) if part)
