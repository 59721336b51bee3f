"""``python -m atd`` and the ``atd`` command: one door to the command line."""

from __future__ import annotations

import sys

from atd.cli.app import run


def main() -> None:
    """Run the command line and exit with the code of what happened (see `atd.errors`)."""
    sys.exit(run())


if __name__ == "__main__":
    main()
