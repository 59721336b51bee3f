"""``python -m atd`` and the ``atd`` command: one door to the command line."""

from __future__ import annotations

import sys

try:
    from atd.cli.app import run
except KeyboardInterrupt:  # Ctrl-C before there is a command line that could say so
    sys.exit(130)


def main() -> None:
    """Run the command line and exit with the code of what happened (see `atd.errors`)."""
    sys.exit(run())


if __name__ == "__main__":
    main()
