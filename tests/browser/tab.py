"""One tab with the demo page open: what it heard, what it showed, what a visitor does in it."""

from __future__ import annotations

import json
from base64 import b64encode
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image
from playwright.async_api import BrowserContext, Page, WebSocket, expect

from tests.support.gateway import Gateway

PATIENCE = 60_000
WORK = 150_000  # converters have the lowest priority, and the other tests go first
"""Milliseconds; other tests have the cores too."""

# Everything that the list ever said, because a fast job changes quicker than a test can look.
REMEMBER = """
window.said = [];
new MutationObserver(() => {
  for (const row of document.querySelectorAll("#jobs .job")) {
    const [name, detail] = [".name", ".detail"].map((part) => row.querySelector(part).textContent);
    const text = `${name}: ${detail}`;
    if (!window.said.includes(text)) window.said.push(text);
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""

# Gives files (each of these bytes, or of that many zeros) to the page; returns whether it showed
# that it takes what is dragged.
GIVE = """([how, given]) => {
  const transfer = new DataTransfer();
  for (const [name, content] of given) {
    const bytes = typeof content === "number" ? new Uint8Array(content)
      : Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const options = { bubbles: true, cancelable: true };
  if (how === "paste") {
    const event = new ClipboardEvent("paste", { clipboardData: transfer, ...options });
    document.body.dispatchEvent(event);
    return true;
  }
  const drag = (kind) => document.body.dispatchEvent(
    new DragEvent(kind, { dataTransfer: transfer, ...options }));
  drag("dragover");
  const marked = getComputedStyle(document.querySelector("#overlay")).display !== "none";
  drag("drop");
  return marked;
}"""


class Tab:
    """A tab. `messages`: the notifications its sockets received; `sockets`: their URLs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[str] = []
        self.errors: list[str] = []
        page.on("websocket", self._socket_opened)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    async def open(cls, context: BrowserContext, site: Gateway) -> Tab:
        """A new tab of this visitor, live."""
        tab = cls(await context.new_page())
        await tab.page.add_init_script(REMEMBER)
        await tab.page.goto(site.http("/demo/"))
        await tab.live()
        return tab

    def _socket_opened(self, socket: WebSocket) -> None:
        self.sockets.append(socket.url)
        socket.on("framereceived", self._received)

    def _received(self, payload: str | bytes) -> None:
        frame = json.loads(payload)
        if frame["type"] == "message":
            self.messages.append(frame)

    def durable(self) -> list[dict[str, Any]]:
        """Those that are of this user; the others are for everybody."""
        return [message for message in self.messages if "offset" in message]

    @property
    def client_id(self) -> str:
        """Of the last socket."""
        return parse_qs(urlsplit(self.sockets[-1]).query)["client_id"][0]

    async def live(self) -> None:
        await expect(self.page.locator("#status")).to_have_attribute(
            "data-state", "online", timeout=PATIENCE
        )

    async def upload(
        self, *files: tuple[str, bytes], to: str = "WebP", side: str = "", quality: int = 0
    ) -> None:
        """Choose files, as with the file dialog. `side`: an option's value."""
        await self.page.get_by_role("radio", name=to).check(force=True)
        await self.page.get_by_label("Longest side", exact=True).select_option(side)
        if quality:
            await self.page.get_by_label("Quality").fill(str(quality))
        chosen = [
            {"name": name, "mimeType": "image/png", "buffer": content} for name, content in files
        ]
        await self.page.set_input_files("#files", chosen)  # type: ignore[arg-type]

    async def drop(self, *files: tuple[str, bytes | int]) -> bool:
        """Drag files over the page and let them go; whether the page showed that it may."""
        return await self._give("drop", files)

    async def paste(self, *files: tuple[str, bytes | int]) -> None:
        await self._give("paste", files)

    async def _give(self, how: str, files: tuple[tuple[str, bytes | int], ...]) -> bool:
        given = [
            [name, content if isinstance(content, int) else b64encode(content).decode()]
            for name, content in files
        ]
        return bool(await self.page.evaluate(GIVE, [how, given]))

    def row(self, name: str) -> Any:
        return self.page.locator("#jobs .job").filter(has_text=name)

    def button(self, name: str) -> Any:
        """By its accessible name."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def job(self, name: str) -> str:
        """The id of the row's job."""
        return str(await self.row(name).get_attribute("data-job"))

    async def says(self, name: str, text: str) -> None:
        """The row's line comes to contain the text."""
        await expect(self.row(name).locator(".detail")).to_contain_text(text, timeout=PATIENCE)

    async def becomes(self, name: str, state: str) -> None:
        await expect(self.row(name)).to_have_attribute("data-state", state, timeout=WORK)

    async def said(self) -> list[str]:
        """Every line that the list has shown since the page was opened."""
        return list(await self.page.evaluate("window.said"))

    async def download(self, name: str) -> tuple[str, Image.Image]:
        """Click on Download; the proposed file name and the image in the file."""
        async with self.page.expect_download() as started:
            await self.row(name).get_by_role("link").click()
        download = await started.value
        image = Image.open(BytesIO((await download.path()).read_bytes()))
        image.load()
        return download.suggested_filename, image
