"""The headline of a failed build is its cause."""

from __future__ import annotations

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils.build_failure import cause

CLASH = """error: No solution found when resolving dependencies
  cause: Because flask==3.1.0 depends on werkzeug>=3.1 and you require flask==3.1.0, we can conclude that you require werkzeug>=3.1.
         And because you require werkzeug==2.0.0, we can conclude that your requirements are unsatisfiable.
"""
BUILD = """error: Failed to build `{name}`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta:__legacy__.build_wheel` failed (exit status: 1)

         [stderr]
         {line}

hint: Build failures usually indicate a problem with the package or the build environment
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            CLASH,
            "No solution found when resolving dependencies: Because flask==3.1.0 depends on werkzeug>=3.1 and you require flask==3.1.0, we can "
            "conclude that you require werkzeug>=3.1. And because you require werkzeug==2.0.0, we can conclude "
            "that your requirements are unsatisfiable",
        ),
        (
            BUILD.format(name="cext", line="cext.c:1:10: fatal error: libpq-fe.h: No such file or directory"),
            "the header file libpq-fe.h is missing; add the package that has it to flask_app_system_packages",
        ),
        (
            BUILD.format(name="cext", line="cext.c:1:10: fatal error: Python.h: No such file or directory"),
            "Python's header files are missing; add python3-dev to flask_app_system_packages",
        ),
        (
            BUILD.format(name="cext", line="error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'"),
            "the compiler x86_64-linux-gnu-gcc is missing; add build-essential to flask_app_system_packages",
        ),
        (
            BUILD.format(name="uwsgi==2.0.30", line="Exception: you need a C compiler to build uWSGI"),
            "a C compiler is missing; add build-essential to flask_app_system_packages",
        ),
        (
            BUILD.format(name="psycopg2==2.9.10", line="Error: pg_config executable not found."),
            "the program pg_config is missing; add the package that has it to flask_app_system_packages",
        ),
        (
            BUILD.format(name="mysqlclient==2.2.7", line="Exception: Can not find valid pkg-config name."),
            "Failed to build `mysqlclient==2.2.7`: Exception: Can not find valid pkg-config name",
        ),
        ("error: Failed to write\n  cause: No space left on device (os error 28)\n", "no space is left on the disk"),
        ("Killed\n", "Killed"),
        ("", "it ended without a word"),
    ],
)
def test_the_cause_of_a_failure_is_found(output: str, said: str) -> None:
    assert cause(output) == said
