"""axe-core in a page: which rules of accessibility it breaks. No page fetches it: it comes with a
Python package of the development lock."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from playwright.async_api import Page

_RUN: Final = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .flatMap((one) => one.nodes.map((node) =>
      `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}"""


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


async def serious(page: Page) -> list[str]:
    """Return what axe-core calls serious or critical in this page: rule, place and remedy."""
    await page.evaluate(_axe())
    found: list[str] = await page.evaluate(_RUN)
    return found
