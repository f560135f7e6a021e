"""The documentation site: built as a user would, without a warning, whole, and with no link that leads nowhere."""

from __future__ import annotations

import importlib
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TOPOLOGIES = list(yaml.safe_load((ROOT / "docs/facts.yml").read_text()))
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
pytestmark = [
    pytest.mark.lint,
    pytest.mark.xdist_group("docs"),  # one build for all
    pytest.mark.skipif(sys.version_info < (3, 11), reason="the site's tools need Python 3.11: see requirements.txt"),
]


class Page(HTMLParser):
    """What of a page links and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[str] = []
        self.images: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element's anchor and what it names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag == "img":
            self.images[given["src"]] = given.get("alt", "")


def broken_links(site: Path) -> list[str]:
    """Every link of a site's pages that leads nowhere; of links to other sites only the form is looked at."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if url.scheme or url.netloc:
                right = url.scheme == "data" or (url.scheme == "https" and "." in url.netloc)
            elif target in pages:
                right = unquote(url.fragment) in pages[target].anchors
            else:
                right = target.is_file() and target.is_relative_to(site.resolve())
            broken += [] if right else [f"{path.relative_to(site.resolve())}: {link}"]
    return broken


@pytest.fixture(scope="module")
def site() -> Path:
    """The site that `make docs` has built."""
    done = subprocess.run(["make", "--no-print-directory", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "WARNING" not in said and "ERROR" not in said, said
    index = Path(done.stdout.split()[-1])
    assert index.name == "index.html" and index.is_file(), said
    return index.parent


def test_every_link_leads_somewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > len(TOPOLOGIES + ROLES + MODULES)
    assert broken_links(site) == []


def test_every_example_has_a_button_that_copies_it(site: Path) -> None:
    for page in (site / "index.html", site / "docs/getting-started.html"):
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        examples = page.read_text(encoding="utf-8").count('<div class="highlight">')
        assert examples and shown.count('class="copybtn') == examples


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_topology_has_a_page_with_a_diagram(site: Path, topology: str) -> None:
    page = site / f"docs/topologies/{topology}.html"
    [(diagram, description)] = list(Page(page).images.items())
    assert "→" in description
    assert (page.parent / diagram).resolve().read_text() == (ROOT / f"docs/topologies/{topology}.svg").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_page_has_every_variable(site: Path, role: str) -> None:
    options = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {f"parameter-main--{name}" for name in options} <= Page(site / f"reference/{role}_role.html").anchors


@pytest.mark.parametrize("module", MODULES)
def test_a_modules_page_has_every_option_and_result(site: Path, module: str) -> None:
    documented = importlib.import_module(f"ansible_collections.flaskops.hosting.plugins.modules.{module}")
    anchors = Page(site / f"reference/{module}_module.html").anchors
    assert {f"parameter-{name}" for name in yaml.safe_load(documented.DOCUMENTATION)["options"]} <= anchors
    assert {f"return-{name}" for name in yaml.safe_load(documented.RETURN)} <= anchors


def test_everything_can_be_reached_from_the_first_page(site: Path) -> None:
    linked = {(site / unquote(urlsplit(link).path)).resolve() for link in Page(site / "index.html").links if not urlsplit(link).scheme}
    pages = [*site.rglob("docs/**/*.html"), *site.rglob("reference/*.html")]
    assert [page.name for page in pages if page.resolve() not in linked] == []


@pytest.mark.parametrize(
    "link",
    ["nowhere.html", "#nowhere", "other.html#nowhere", "../outside.html", "http://example.com/", "https://", "nowhere.svg"],
)
def test_a_broken_link_is_seen(tmp_path: Path, link: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "outside.html").touch()
    (tmp_path / "site/other.html").write_text('<p id="here"></p>')
    right = '<a href="other.html#here"></a><a href="https://example.com/x"></a><a href="#"></a>'
    (tmp_path / "site/index.html").write_text(f'{right}<a href="{link}"></a>')
    assert broken_links(tmp_path / "site") == [f"index.html: {link}"]
