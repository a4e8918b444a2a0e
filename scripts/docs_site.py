"""What mkdocs is told beside mkdocs.yml: pages from the top of the repository, links to files that
are no pages, and `llms.txt`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FROM_THE_TOP = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_SHIM = "https://unpkg.com/iframe-worker/shim"
_titles: dict[str, tuple[str, str]] = {}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top."""
    for name in FROM_THE_TOP:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where their pages are in the site; the name of a file that is none stays."""
    here = page.file.src_uri
    at_top = here in FROM_THE_TOP

    def lead(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        path, hash, anchor = target.partition("#")
        base = ROOT if at_top else (ROOT / "docs" / here).parent
        file = (base / path).resolve()
        if not file.is_relative_to(ROOT):
            return found[0]
        known = _page_of(file)
        if known is None:
            return text if "`" in text else f"{text} (`{file.relative_to(ROOT)}`)"
        up = "../" * here.count("/")
        return f"[{text}]({up}{known}{hash}{anchor})"

    return _LINK.sub(lead, markdown)


def _page_of(file: Path) -> str | None:
    docs = ROOT / "docs"
    if file.is_relative_to(docs):
        return file.relative_to(docs).as_posix()
    name = file.relative_to(ROOT).as_posix()
    return name if name in FROM_THE_TOP else None


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Take the one script that the theme would ask another host for out of the site itself."""
    up = "../" * page.file.dest_uri.count("/")
    return output.replace(_SHIM, f"{up}assets/iframe-worker.js")


def on_page_context(context: Any, page: Any, config: Any, nav: Any) -> Any:
    """Remember what each page is called, and its first sentence."""
    text = re.sub(r"(?m)^#.*$|<!--.*?-->", "", page.markdown or "")
    first = next((line for line in text.splitlines() if line[:1].isalpha()), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first).replace("`", "").replace("**", "")
    _titles[page.file.dest_uri] = (page.title or "", plain.partition(". ")[0].rstrip(".:"))
    return context


def on_post_build(config: Any) -> None:
    """Write `llms.txt`: what there is to read, for programs that read."""
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for path, (title, sentence) in sorted(_titles.items()):
        lines.append(f"- [{title}]({path}): {sentence}." if sentence else f"- [{title}]({path})")
    (Path(config["site_dir"]) / "llms.txt").write_text("\n".join(lines) + "\n")
