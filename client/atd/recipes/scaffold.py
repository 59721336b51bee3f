"""``atd new NAME``: the file that a recipe of one's own begins with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from atd.disk import storing
from atd.errors import RecipeError
from atd.files import private_folder
from atd.names import check_name

_TEMPLATE: Final = '''"""How {name} is prepared. See docs/recipes.md."""

import atd
from atd import recipes


@atd.recipe(
    "{name}",
    title="{title}",
    homepage="https://example.org/",
    license="CC-BY-4.0",
)
class {class_name}:
    """What the data are, in a few sentences."""

    # Set agreement = "…" if users must agree to something before anything is downloaded.
    # Declare sha256 (of what is downloaded, before it is unpacked): `sha256sum FILE` says it.
    table = recipes.file(
        "https://example.org/table.csv.gz",
        transforms=[recipes.gunzip()],
        path="table.csv",
    )

    data = {{"train": recipes.reader("csv", table)}}
'''


def write_recipe(name: str, folder: Path) -> Path:
    """Write a recipe called ``name`` to begin with; returns the path of the new file.

    Raises:
        RecipeError: the file exists already. InvalidSyntax: it is no name. StorageFault: it cannot
            be written.
    """
    words = [
        word for word in check_name(name).replace("-", ".").replace("_", ".").split(".") if word
    ]
    class_name = "".join(word.capitalize() for word in words[-2:])
    class_name = class_name if class_name[0].isalpha() else f"Data{class_name}"
    text = _TEMPLATE.format(name=name, title=words[-1].capitalize(), class_name=class_name)
    path = folder / f"{name.replace('.', '_').replace('-', '_')}.py"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with storing(path):
        private_folder(folder)
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileExistsError:
            raise RecipeError(
                f"{path} exists already", next_step="choose another name, or edit that file"
            ) from None
        with open(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
    return path
