"""The command line: every verb of the store by its own name, for people and for scripts.

It knows how to read arguments and how to show results; what a verb does is the manager's.
`docs/cli.md` is the manual, with the table of exit statuses.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``holdfast`` with the arguments of the process and exit with its status."""
    from holdfast.cli.app import run

    sys.exit(run(sys.argv[1:]))
