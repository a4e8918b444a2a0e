"""The settings of a gateway without a garbage collector, which says what one would have found.

Asked by the file `ask` in DATA_DIR; the answer is in `garbage`: how many of each class, as JSON.
"""

import gc
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

from gateway.settings import *  # noqa: F403

gc.disable()
_folder = Path(os.environ["DATA_DIR"])


def _answer() -> None:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = Counter(type(one).__name__ for one in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    (_folder / "garbage.new").write_text(json.dumps(found))
    (_folder / "garbage.new").replace(_folder / "garbage")


def _listen() -> None:
    while True:
        if (_folder / "ask").exists():
            (_folder / "ask").unlink()
            _answer()
        time.sleep(0.05)


threading.Thread(target=_listen, daemon=True).start()
