"""``python -m atd`` and the ``atd`` command: one door to the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with the code of what happened (see `atd.errors`)."""
    from atd.cli.app import run  # noqa: PLC0415 - so that `import atd.__main__` stays free of Typer

    sys.exit(run())


if __name__ == "__main__":
    main()
