"""How the help of a command is written."""

from __future__ import annotations


def examples(*lines: str, after: str = "") -> str:
    """An epilog of examples, which Typer is not to wrap, and a paragraph after them."""
    block = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
    return f"{block}\n\n{after}" if after else block
