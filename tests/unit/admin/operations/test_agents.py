"""User agents in words."""

from __future__ import annotations

import pytest

from sockets.admin.operations.agents import in_words

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"
ANDROID = "Mozilla/5.0 (Linux; Android 15; SM-S921N)"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (f"{WINDOWS} {WEBKIT} Chrome/141.0.0.0 Safari/537.36", "Chrome on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/141.0 Safari/537.36 Edg/141.0", "Edge on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/141.0 Safari/537.36 OPR/120.0", "Opera on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/141.0 Whale/4.3 Safari/537.36", "Whale on Windows"),
        (f"{MAC} AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
         "Firefox on Linux"),
        (f"{IPHONE} AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1",
         "Safari on iPhone"),
        (f"{IPHONE} AppleWebKit/605.1.15 CriOS/141.0 Mobile/15E148 Safari/604.1",
         "Chrome on iPhone"),
        (f"{ANDROID} {WEBKIT} SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36",
         "Samsung Internet on Android"),
        (f"{ANDROID} {WEBKIT} Chrome/141.0 Mobile Safari/537.36 KAKAOTALK/10.9",
         "KakaoTalk on Android"),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/141.0 Safari/537.36",
         "Chrome on ChromeOS"),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/141.0 Safari/537.36",
         "Headless Chrome on Linux"),
        ("Python/3.11 websockets/15.0.1", "Python websockets"),
        ("okhttp/4.12.0", "okhttp"),
        ("Dart/3.5 (dart:io)", "Dart"),
        ("curl/8.5.0", "curl"),
        ("node", "Node.js"),
        ("my-own-worker/1.0", ""),
        ("", ""),
        ("x" * 256, ""),
    ],
)  # fmt: skip
def test_what_people_call_it(agent: str, words: str) -> None:
    assert in_words(agent) == words
