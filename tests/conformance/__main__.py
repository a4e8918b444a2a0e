"""`scripts/soak conformance`: see --help."""

from __future__ import annotations

import argparse
import shutil
import sys

from tests.conformance.autobahn import ROOT, SUITE, Missing, echo, install, python27, run

KEEP = ROOT / "artifacts" / "conformance"

HELP = f"""\
Run the Autobahn test suite ({SUITE}) against an echo application on our server, with the limit of a
frame raised. Prints how many cases ended how; any failed one is an error. Compression is not
negotiated, so its cases (12.*, 13.*) are left out.

The suite needs Python 2.7: PYTHON27, `python2.7`, or one of pyenv's. It is installed once, in var/.
"""

EXAMPLES = """\
examples:
  scripts/soak conformance                     all cases, about five minutes
  scripts/soak conformance --cases '6.*,7.*'   UTF-8 and closing

artifacts/conformance/ has the suite's report (reports/index.html) and both logs.
"""


def main() -> int:
    """The exit code: 0 when no case failed, 1 when one did, 3 where the suite cannot be had."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak conformance",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = ",".join(f"{number}.*" for number in (*range(1, 8), 9, 10))
    parser.add_argument("--cases", default=every, help="with commas between (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=20, help="then it is ended (default: %(default)s)"
    )
    options = parser.parse_args()
    shutil.rmtree(KEEP, ignore_errors=True)
    KEEP.mkdir(parents=True)
    try:
        python = python27()
        site = install(python)
    except Missing as error:
        sys.stderr.write(f"left out: the WebSocket conformance run: {error}\n")
        return 3
    with echo(KEEP) as port:
        try:
            cases = options.cases.split(",")
            report = run(python, site, port, KEEP, cases, options.minutes * 60)
        except (TimeoutError, RuntimeError) as error:
            sys.stderr.write(f"the conformance run failed: {error}\n")
            return 1
    counts = report.counts
    text = ", ".join(f"{counts[word]} {word}" for word in sorted(counts))
    sys.stdout.write(f"WebSocket conformance: {len(report.verdicts)} cases: {text}\n")
    for case in report.failed:
        sys.stdout.write(f"  {case}: {report.verdicts[case]}\n")
    sys.stdout.write(f"{len(report.failed)} failed\n")
    return 1 if report.failed or not report.verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
