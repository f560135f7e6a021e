"""Requirements in every form that people have: the key of the environment changes with all that they name, and uv installs what they say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flaskops.hosting.plugins.module_utils import uv, virtual_environment
from ansible_collections.flaskops.hosting.plugins.module_utils.release_tree import ReleaseError, read_environment_file
from ansible_collections.flaskops.hosting.plugins.plugin_utils.requirements import read_requirements
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source import Source, build_name
from ansible_collections.flaskops.hosting.plugins.plugin_utils.source_limits import SourceError
from ansible_collections.flaskops.hosting.tests.unit.wheels import PROJECT, make_wheel, package, sha256

UV = Path(sys.prefix) / "bin/uv"
INDEX = "--no-index\n--find-links {wheels}\n"  # of the test, and not of the source
TOOL = {"tool": "1.0"}
LOCK = """version = 1
requires-python = ">=3.9"

[[package]]
name = "shop"
version = "1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "tool" }}]

[[package]]
name = "tool"
version = "1.0"
source = {{ registry = "{wheels}" }}
wheels = [{{ path = "tool-1.0-py3-none-any.whl" }}]
"""
PYLOCK = """lock-version = "1.0"
created-by = "test"

[[packages]]
name = "tool"
version = "1.0"
wheels = [{{ url = "file://{wheels}/tool-1.0-py3-none-any.whl", hashes = {{ sha256 = "{tool}" }} }}]
"""
PYLOCK_OF_NOTHING = 'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n'


@dataclass(frozen=True)
class Form:
    """A form of requirements.

    In the source's ``files``, ``{wheels}``, ``{git}`` and ``{tool}`` are filled in. ``key`` names those that are in the environment's key, and
    ``whole`` says that all of the source is; ``installed`` is what the environment has.
    """

    files: Mapping[str, str | bytes]
    key: list[str] = field(default_factory=list)
    installed: dict[str, str] = field(default_factory=lambda: TOOL)
    file: str = "requirements.txt"
    whole: bool = False


def plain(text: str, more: dict[str, str] | None = None, key: list[str] | None = None, installed: dict[str, str] | None = None) -> Form:
    """A requirements file, and what it names."""
    whole = any(name.endswith((".whl", ".py")) for name in more or {})
    return Form({"requirements.txt": INDEX + text, **(more or {})}, ["requirements.txt", *(key or [])], installed or TOOL, whole=whole)


BOTH = {"tool": "1.0", "other": "2.0"}
FORMS = {
    "a name and a version": plain("tool==1.0\n"),
    "no newline at the end": plain("tool == 1.0"),
    "Windows' newlines": plain("tool==1.0\r\nother==2.0\r\n", installed=BOTH),
    "a comment": plain("# other==2.0\ntool==1.0  # not 2.0\n"),
    "a marker": plain("tool==1.0; python_version > '3'\nother==2.0; python_version < '3'\n"),
    "an extra": plain("tool[more]==1.0\n"),
    "a range": plain("tool>=1,<2\n"),
    "a byte order mark": Form({"requirements.txt": b"\xef\xbb\xbf" + INDEX.encode() + b"tool==1.0\n"}, ["requirements.txt"]),
    "a byte order mark before an include": Form(
        {"requirements.txt": "\ufeff-r base.txt\n".encode(), "base.txt": INDEX + "tool==1.0\n"}, ["requirements.txt", "base.txt"]
    ),
    "UTF-16 of PowerShell": Form({"requirements.txt": ("\ufeff" + INDEX + "tool==1.0\r\n").encode("utf-16-le")}, ["requirements.txt"]),
    "UTF-16, the other way": Form({"requirements.txt": ("\ufeff" + INDEX + "tool==1.0\n").encode("utf-16-be")}, ["requirements.txt"]),
    "an encoding that it names": Form(
        {"requirements.txt": b"# coding: latin-1\n# caf\xe9\n" + INDEX.encode() + b"tool==1.0\n"}, ["requirements.txt"]
    ),
    "an encoding that it does not name": Form({"requirements.txt": b"# caf\xe9\n" + INDEX.encode() + b"tool==1.0\n"}, ["requirements.txt"]),
    "-r": plain("-r base.txt\n", {"base.txt": "tool==1.0\n"}, ["base.txt"]),
    "-r without a space": plain("-rbase.txt\n", {"base.txt": "tool==1.0\n"}, ["base.txt"]),
    "--requirement=": plain("--requirement=base.txt\n", {"base.txt": "tool==1.0\n"}, ["base.txt"]),
    "--requirement, shortened and quoted": plain('--requirem "the base.txt"\n', {"the base.txt": "tool==1.0\n"}, ["the base.txt"]),
    "-r from a directory": plain(
        "-r deps/base.txt\n", {"deps/base.txt": "-r ../more.txt\ntool==1.0\n", "more.txt": "other==2.0\n"}, ["deps/base.txt", "more.txt"], BOTH
    ),
    "-r and its value on two lines": plain("-r \\\nbase.txt\n", {"base.txt": "tool==1.0\n"}, ["base.txt"]),
    "files that include each other": plain("-r base.txt\n", {"base.txt": "-r requirements.txt\ntool==1.0\n"}, ["base.txt"]),
    "-c": plain("tool\n-c limits.txt\n", {"limits.txt": "tool==1.0\n"}, ["limits.txt"]),
    "-c without a space": plain("tool\n-climits.txt\n", {"limits.txt": "tool<2\n"}, ["limits.txt"]),
    "--constraint, and the same file as a requirement": plain("--constraint base.txt\n-r base.txt\n", {"base.txt": "tool==1.0\n"}, ["base.txt"]),
    "a continued line": plain("tool \\\n    ==1.0\nother==2.0\n", installed=BOTH),
    "hashes": plain("tool==1.0 \\\n    --hash=sha256:{tool} \\\n    --hash=sha256:" + "0" * 64 + "\n"),
    "hashes that are required": plain("--require-hashes\ntool==1.0 --hash sha256:{tool}\n"),
    "options that change nothing here": plain("--prefer-binary\n--use-feature=fast-deps\n--only-binary :all: --no-binary=other,more\ntool==1.0\n"),
    "early versions": plain("--pre\nother\n", installed={"other": "3.0rc1"}),
    "an index, and a host that is trusted": plain("--index-url https://pypi.example/simple --trusted-host pypi.example\ntool==1.0\n"),
    "a wheel": plain("./wheels/tool-1.0-py3-none-any.whl\n", {"wheels/tool-1.0-py3-none-any.whl": "@wheel"}, ["wheels/tool-1.0-py3-none-any.whl"]),
    "a wheel beside it": plain("tool-1.0-py3-none-any.whl\n", {"tool-1.0-py3-none-any.whl": "@wheel"}, ["tool-1.0-py3-none-any.whl"]),
    "wheels of the source": plain(
        "--find-links=wheels\ntool<2\n", {"wheels/tool-1.0-py3-none-any.whl": "@wheel"}, ["wheels/tool-1.0-py3-none-any.whl"]
    ),
    "wheels beside the file": Form(
        {"deps/all.txt": INDEX + "-f wheels\ntool<2\n", "deps/wheels/tool-1.0-py3-none-any.whl": "@wheel"},
        ["deps/all.txt", "deps/wheels/tool-1.0-py3-none-any.whl"],
        file="deps/all.txt",
        whole=True,
    ),
    ".": plain(".\n", package("shop"), ["shop/__init__.py", "pyproject.toml"], {"tool": "2.0", "shop": "1.0"}),
    "-e .": plain("-e .\ntool<2\n", package("shop"), ["shop/__init__.py"], {"tool": "1.0", "shop": "1.0"}),
    "-e with a path": plain(
        "-e libs/shop\n", {f"libs/shop/{name}": text for name, text in package("shop").items()}, ["libs/shop/shop/__init__.py"], {"shop": "1.0"}
    ),
    "git": plain("shop @ git+file://{git}\n", installed={"shop": "1.0"}),
    "git, editable": plain("-e git+file://{git}#egg=shop\n", installed={"shop": "1.0"}),
    "pyproject.toml": Form({"pyproject.toml": PROJECT.format(name="shop")}, ["pyproject.toml"], {"tool": "2.0"}, "auto"),
    "pyproject.toml of a package": Form(package("shop"), ["pyproject.toml", "shop/__init__.py"], {"shop": "1.0", "tool": "2.0"}, "auto", whole=True),
    "a package below src": Form(package("shop", layout="src/"), ["src/shop/__init__.py"], {"shop": "1.0", "tool": "2.0"}, "auto", whole=True),
    "uv.lock": Form({"pyproject.toml": PROJECT.format(name="shop"), "uv.lock": LOCK}, ["pyproject.toml", "uv.lock"], TOOL, "auto", whole=True),
    "pylock.toml": Form({"pylock.toml": PYLOCK}, ["pylock.toml"], TOOL, "auto", whole=True),
    "a lock without a path": Form({"pylock.toml": PYLOCK_OF_NOTHING}, ["pylock.toml"], {}, "auto"),
}
by_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An index of wheels, and a repository, by the names that the forms have for them."""
    wheels, repository = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("git")
    made = {
        (name, version): make_wheel(wheels, name, version)
        for name, version in [("tool", "1.0"), ("tool", "2.0"), ("other", "2.0"), ("other", "3.0rc1")]
    }
    write(repository, package("shop"), {})
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=one"]):
        subprocess.run(["git", *who, *words], cwd=repository, check=True)
    return {"wheels": str(wheels), "git": str(repository), "tool": sha256(made["tool", "1.0"])}


def write(directory: Path, files: Mapping[str, str | bytes], places: dict[str, str]) -> Path:
    """Write a source."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "@wheel":
            shutil.copy(Path(places["wheels"]) / "tool-1.0-py3-none-any.whl", path)
            continue
        encoded = content.encode() if isinstance(content, str) else content
        if places and not name.endswith(".py"):
            for key, value in places.items():
                for codec in ("utf-8", "utf-16-le", "utf-16-be"):
                    encoded = encoded.replace(f"{{{key}}}".encode(codec), value.encode(codec))
            encoded = encoded.replace(b"{{", b"{").replace(b"}}", b"}")
        path.write_bytes(encoded)
    return directory


def key_of(source: Path, file: str) -> str:
    """The key of what a source requires."""
    return read_requirements(source, file, build_name(Source(source).manifest())).key


@by_form
def test_the_key_changes_with_each_byte_that_the_requirements_name(form: Form, places: dict[str, str], tmp_path: Path) -> None:
    source = write(tmp_path, form.files, places)
    keys = [key_of(source, form.file)]
    for name in form.key:
        path = source / name
        path.write_bytes(path.read_bytes() + (b"\n" if not name.endswith(".whl") else b"x"))
        keys.append(key_of(source, form.file))
    assert len(set(keys)) == len(form.key) + 1


@by_form
def test_a_change_of_code_alone_makes_no_new_environment_unless_code_is_in_it(form: Form, places: dict[str, str], tmp_path: Path) -> None:
    source = write(tmp_path, form.files, places)
    before = key_of(source, form.file)
    (source / "main.py").write_text("app = 2\n")
    assert (key_of(source, form.file) != before) == form.whole


@pytest.fixture
def build(tmp_path: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Builds an environment as a host does, but without a unit; returns what is installed in it."""
    home, work = tmp_path / "flaskops-shop-build", tmp_path / "work"

    def run_here(unit: str, words: list[str], lines: list[str], timeout: int, script: str) -> tuple[int, str]:
        shutil.rmtree(work, ignore_errors=True)  # each unit has one of its own
        files = next(line.split()[-2] for line in lines if line.startswith("ExecStartPre=+/bin/cp"))
        shutil.copytree(files, home, dirs_exist_ok=True)
        given = dict(line.removeprefix("Environment=").split("=", 1) for line in lines if line.startswith("Environment="))
        # what the host's pip configuration would say
        given.update(HOME=str(home), PATH="/usr/bin:/bin", UV_NO_INDEX="1", UV_FIND_LINKS=places["wheels"], UV_OFFLINE="1", UV_LINK_MODE="hardlink")
        done = subprocess.run(["sh", "-c", script], env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    monkeypatch.setattr(virtual_environment, "run_in_unit", run_here)
    monkeypatch.setattr(virtual_environment, "give_to_root", lambda top: None)
    monkeypatch.setattr(virtual_environment, "uv", lambda: UV)
    monkeypatch.setattr(virtual_environment, "WORK", str(work))
    monkeypatch.setattr(virtual_environment, "HOMES", str(home.parent))

    def build(source: Path, file: str, **options: Any) -> dict[str, str]:
        wanted = read_requirements(source, file, "build")
        given = {"app": "shop", "group": "shop", "python": sys.executable, "server_requirements": [], "server_minimum": {}, **options}
        venv = tmp_path / "tree/venvs/one"
        venv.parent.mkdir(parents=True, exist_ok=True)
        virtual_environment.build(given, wanted.to_json(), venv, source)
        assert virtual_environment.is_built(venv) and not (venv / virtual_environment.CACHE).exists()
        return virtual_environment.installed_in(venv)

    return build


@by_form
def test_uv_installs_what_they_say(form: Form, places: dict[str, str], tmp_path: Path, build: Callable[..., dict[str, str]]) -> None:
    source = write(tmp_path / "source", form.files, places)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert form.installed.items() <= build(source, form.file).items()
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_what_the_server_needs_is_a_step_of_its_own(places: dict[str, str], tmp_path: Path, build: Callable[..., dict[str, str]]) -> None:
    """Requirements with hashes take no package without one."""
    source = write(tmp_path / "source", {"requirements.txt": INDEX + "tool==1.0 --hash=sha256:{tool}\n"}, places)
    assert build(source, "auto", server_requirements=["other==2.0"]) == {"tool": "1.0", "other": "2.0"}


def test_the_apps_own_version_of_the_server_is_taken(places: dict[str, str], tmp_path: Path, build: Callable[..., dict[str, str]]) -> None:
    source = write(tmp_path / "source", {"requirements.txt": INDEX + "tool==1.0\n"}, places)
    assert build(source, "auto", server_requirements=["tool[more]==2.0"], server_minimum={"tool": "0.9"}) == {"tool": "1.0"}
    said = "the app requires tool 1.0, and the release's settings need tool 1.5 or newer; require that, or nothing, and the role installs tool==2.0"
    with pytest.raises(ReleaseError, match=said):
        build(source, "auto", server_requirements=["tool==2.0"], server_minimum={"tool": "1.5"})


def test_the_server_changes_nothing_that_the_app_has(places: dict[str, str], tmp_path: Path, build: Callable[..., dict[str, str]]) -> None:
    source = write(tmp_path / "source", {"requirements.txt": INDEX + "tool==1.0\n"}, places)
    make_wheel(Path(places["wheels"]), "server", "1.0", requires="tool>=2")
    with pytest.raises(ReleaseError, match=r"the server's packages \(server\): .*server depend on tool>=2"):
        build(source, "auto", server_requirements=["server"])


def test_no_requirements_are_an_empty_environment(tmp_path: Path, source: Path, build: Callable[..., dict[str, str]]) -> None:
    assert build(source, "") == {}


@pytest.mark.parametrize("named", ["../key", "{outside}", "link.txt", "more/../../key"])
def test_requirements_include_no_file_of_this_machine(source: Path, tmp_path: Path, named: str) -> None:
    """They are shown in a diff, and noted on the host."""
    (tmp_path / "key").write_text("private")
    (source / "link.txt").symlink_to(tmp_path / "key")
    (source / "more").mkdir()
    (source / "requirements.txt").write_text(f"-r {named.format(outside=tmp_path / 'key')}\n")
    with pytest.raises(SourceError, match="flask_app_requirements: .*, which is outside of the source"):
        read_requirements(source, "requirements.txt", "")


@pytest.mark.parametrize(
    ("files", "file", "said"),
    [
        ([], "deps.txt", r"got 'deps.txt', which is no file in .*\n  flask_app_requirements: ''"),
        ([], "auto", r"has none of uv.lock, pylock.toml, requirements.txt, pyproject.toml.*\n  flask_app_requirements: ''"),
        (["poetry.lock", "pyproject.toml"], "auto", r"has poetry.lock, (?s:.*) poetry export (?s:.*)\n  flask_app_requirements: pyproject.toml"),
        (["Pipfile.lock", "Pipfile"], "auto", r"has Pipfile.lock, .*\n  pipenv requirements > requirements.txt"),
        (["more.txt"], "more.txt", r"more.txt: got 'missing.txt', which is no file in .* Add it there, or remove the line that names it"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_would_be_right(tmp_path: Path, files: list[str], file: str, said: str) -> None:
    for name in files:
        (tmp_path / name).write_text("-r missing.txt\n")
    with pytest.raises(SourceError, match=f"flask_app_requirements: .*{said}"):
        read_requirements(tmp_path, file, "")


def test_a_lock_of_poetry_beside_requirements_is_no_obstacle(source: Path) -> None:
    (source / "poetry.lock").touch()
    assert read_requirements(source, "auto", "").file == "requirements.txt"


def test_the_unit_tests_build_with_the_uv_of_the_hosts() -> None:
    said = subprocess.run([UV, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == uv.VERSION


def test_uv_is_set_up_as_pip_is_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "xdg.conf", tmp_path / "pip.conf"
    first.write_text("[global]\ntimeout = 20\nindex-url = https://elsewhere.example/simple\n")
    second.write_text(
        "[global]\nindex-url = https://me:hu$h@pypi.example/simple\nextra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
        "cert = /etc/ssl/company.pem\n[install]\ntrusted-host = pypi.example\nno-index = false\n[list]\nformat = columns\n"
    )
    monkeypatch.setattr(uv, "PIP_CONFIGURATIONS", (first, second, tmp_path / "missing.conf"))
    said = read_environment_file(uv.environment())
    assert {name: value for name, value in said.items() if uv.ALWAYS.get(name) != value} == {
        "UV_DEFAULT_INDEX": "https://me:hu$h@pypi.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/company.pem",
        "UV_INSECURE_HOST": "pypi.example",
        "UV_HTTP_TIMEOUT": "20",
    }
    second.write_text("index-url = here\n")
    with pytest.raises(ReleaseError, match="pip's configuration on this host cannot be read: (?s:.*)pip.conf"):
        uv.environment()
