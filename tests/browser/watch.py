"""What Chromium complains about: its console, failed scripts, violations of a page's policy."""

from __future__ import annotations

from playwright.async_api import BrowserContext, Page

TELL = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Watch:
    """Of all tabs of one visitor. `complaints`: every warning and error, with its page."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        context.on("page", self._opened)

    @classmethod
    async def over(cls, context: BrowserContext) -> Watch:
        """Begin, before the first tab is opened."""
        await context.add_init_script(TELL)
        return cls(context)

    def _opened(self, page: Page) -> None:
        page.on(
            "console",
            lambda said: (
                self.complaints.append(f"{page.url}: {said.text} ({said.location['url']})")
                if said.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
