"""The documentation: relative links and pictures exist, the README is short, generated pages say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fewsam.core.config import Settings
from helpers.server_harness import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "sample-data/README.md"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NOT_FOR_USERS = {"FEWSAM_SERVER_PROCESS", "FEWSAM_SPARE"}  # set by the server itself; an earlier name


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere in this repository."""
    found = []
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One title\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#one-title) [b](other.md#no-title) ![c](gone.png) [d](https://x.org) `[e](code)`\n")
    assert broken(page) == ["other.md#no-title", "gone.png"]


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = LINK.findall(without_code(page.read_text(encoding="utf-8")))
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links if not re.match(r"[a-z]+:", link)}
        waiting += [target for target in targets - reached if target.suffix == ".md" and target.is_file()]
    assert [page for page in PAGES[:-1] if page not in reached] == []


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_code_names_pages_that_exist() -> None:
    places = [*(REPOSITORY / name for name in ("Makefile", "requirements.txt"))]
    for folder in ("lib", "tests", "tools", "apps", "configs"):
        places += [path for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".yaml", ".ts")]
    named = {
        (place, name)
        for place in places
        for name in re.findall(r"\bdocs/[\w/-]+\.(?:md|png|webp|json)", place.read_text())
    }
    assert named  # the search finds something
    examples = REPOSITORY / "tools/results_table.py"  # a path with a word to be replaced
    missing = [(str(place), name) for place, name in named if not (REPOSITORY / name).exists() and place != examples]
    assert missing == []


def test_every_environment_variable_is_in_the_reference() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "lib").rglob("*.py"))
    page = (REPOSITORY / "docs/reference/settings.md").read_text(encoding="utf-8")
    used = set(re.findall(r"FEWSAM_[A-Z_]*[A-Z]", text)) - NOT_FOR_USERS
    assert sorted(used - set(re.findall(r"FEWSAM_[A-Z_]*[A-Z]", page))) == []


def test_settings_in_the_pages_exist() -> None:
    """Each `key=value` in a page, except in research notes, which speak of earlier versions."""
    unknown = set()
    for page in PAGES:
        if "research" not in page.parts:
            text = page.read_text(encoding="utf-8")
            found = re.findall(r"--conf ([a-z_]+)[= ]", text) + re.findall(r"`([a-z_]+)=[\w:.]+`", text)
            unknown |= {(page.name, key) for key in found if key not in Settings.model_fields}
    known = {"preset", "key", "output"}  # of presets, of examples, and a parameter of REST
    assert {one for one in unknown if one[1] not in known} == set()


def test_generated_pages_are_current() -> None:
    """In a process of its own: describing the routes changes MONAI Label's application."""
    command = [sys.executable, REPOSITORY / "tools/reference.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
