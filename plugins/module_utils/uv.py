# Copyright: flaskops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""uv, which installs Python's packages: once per host, and set up as pip is there."""

from __future__ import annotations

import configparser
import fcntl
from pathlib import Path

from ansible_collections.flaskops.hosting.plugins.module_utils.command import remove_tree, write_to_disk
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, environment_file, open_lock
from ansible_collections.flaskops.hosting.plugins.module_utils.sandbox import sandbox
from ansible_collections.flaskops.hosting.plugins.module_utils.transient_unit import give_to_root, run_in_unit

VERSION = "0.13.9"  # it installs in a quarter of pip's time, and reads lock files
PLACE = Path("/var/cache/flaskops")
PIP = "/usr/share/python-wheels"  # where the distribution keeps the pip that its Python's `venv` installs
PYTHON = "/usr/bin/python3"
INSTALL = 'PYTHONPATH=$(echo "$1"/pip-*.whl) "$2" -m pip install --quiet --no-cache-dir --no-deps --only-binary=:all: --target "$3" "uv==$4"; exit $?'
INSTALL_TIMEOUT = 300  # seconds
# pip's global configuration, the later ones winning: https://pip.pypa.io/en/stable/topics/configuration/
PIP_CONFIGURATIONS = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))
# What pip's options are in uv's environment: https://docs.astral.sh/uv/reference/environment/
FROM_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "constraint": "UV_CONSTRAINT",
}
ALWAYS = {
    "UV_SYSTEM_CERTS": "1",  # the host's own authorities, as a company adds them
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # the best version of all indexes, as with pip
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_COMPILE_BYTECODE": "1",  # the app cannot write it
    "UV_LINK_MODE": "hardlink",
    "UV_NO_PROGRESS": "1",
    "NO_COLOR": "1",
}


def uv() -> Path:
    """The path of uv, which is installed if it is not there. Raises ``ReleaseError``."""
    place = PLACE / f"uv-{VERSION}"
    with open_lock(".uv") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            for older in PLACE.glob("uv-*"):
                remove_tree(older)
            _install(place)
            write_to_disk(place)
            (place / "complete").touch()
    return place / "bin/uv"


def _install(place: Path) -> None:
    place.mkdir(mode=0o755, parents=True)
    unit = "flaskops-uv"
    home = f"/run/{unit}"
    lines = [
        *sandbox(UMask="0022", DynamicUser="yes", ReadWritePaths=str(place)),
        f"RuntimeDirectory={unit}",
        f"ExecStartPre=+/bin/chown --reference={home} {place}",
        f"Environment=HOME={home}",
        "Environment=TMPDIR=/var/tmp",
        "Environment=PIP_NO_INPUT=1",
        "Environment=PIP_DISABLE_PIP_VERSION_CHECK=1",
        "Nice=10",
    ]
    code, output = run_in_unit(unit, [PIP, PYTHON, str(place), VERSION], lines, INSTALL_TIMEOUT, script=INSTALL)
    give_to_root(place)
    if code != 0:
        remove_tree(place)
        said = output.strip().splitlines() or ["see its configuration"]
        raise ReleaseError(f"uv {VERSION}, which builds virtual environments, cannot be installed from pip's index: {said[-1]}", output)


def environment() -> str:
    """uv's variables on this host, with what pip's configuration says of indexes, certificates and proxies, as an environment file.

    It may hold logins. A project's own ``[tool.uv]`` and ``/etc/uv/uv.toml`` are read by uv itself. Raises ``ReleaseError``.
    """
    read = configparser.RawConfigParser()
    try:
        read.read(PIP_CONFIGURATIONS, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ReleaseError(f"pip's configuration on this host cannot be read: {error}") from error
    given = {name: value for section in ("global", "install") if read.has_section(section) for name, value in read.items(section)}
    variables = {FROM_PIP[name]: " ".join(value.split()) for name, value in given.items() if name in FROM_PIP}
    if given.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        variables["UV_OFFLINE"] = "1"
    return environment_file({**ALWAYS, **variables})
