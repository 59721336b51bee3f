"""SPDX expressions, and licences by their text: word for word, or not at all."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from atd.cards import spdx
from atd.cards.licence_texts import recognized
from atd.errors import InvalidSyntax

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
MIT = (DATA / "MIT.txt").read_text()
CC0 = (DATA / "CC0-1.0.txt").read_text()
APACHE = (DATA / "Apache-2.0.txt").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT AND CC0-1.0) OR ODbL-1.0", "(MIT AND CC0-1.0) OR ODbL-1.0"),
        (
            "gpl-3.0-or-later with classpath-exception-2.0",
            "GPL-3.0-or-later WITH Classpath-exception-2.0",
        ),
        ("LicenseRef-My-Terms", "LicenseRef-My-Terms"),
        ("CC-BY-4.0 AND LicenseRef-x.1", "CC-BY-4.0 AND LicenseRef-x.1"),
    ],
)
def test_an_expression_is_spelt_as_the_list_has_it(text: str, expected: str) -> None:
    assert spdx.check_license(text) == expected


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("CC-BY", "CC-BY-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("odc-by", "ODC-By-1.0"),
        ("MIT OR Apach-2.0", "Apache-2.0"),
        ("MTI", "MIT"),
        ("all rights reserved", "LicenseRef-NAME"),
        ("MIT AND", "such as CC-BY-4.0"),
        ("MIT Apache-2.0", "such as CC-BY-4.0"),
        ("", "such as CC-BY-4.0"),
        ("(MIT", "such as CC-BY-4.0"),
        ("__import__('os')", "LicenseRef-NAME"),
        ("MIT\x1b[2J", "LicenseRef-NAME"),
    ],
)
def test_what_is_not_in_the_list_is_refused_with_the_nearest(text: str, advice: str) -> None:
    with pytest.raises(InvalidSyntax) as caught:
        spdx.check_license(text)
    assert advice in (caught.value.next_step or "")
    assert str(caught.value).isprintable()


def test_a_long_or_deep_expression_is_refused() -> None:
    for text in ("MIT OR " * 100 + "MIT", "(" * 127 + "MIT" + ")" * 127):
        with pytest.raises(InvalidSyntax):
            spdx.check_license(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIT, "MIT"),
        (MIT.upper().replace("\n", "\r\n"), "MIT"),
        ("# " + MIT.replace("\n", "\n> "), "MIT"),
        (CC0, "CC0-1.0"),
        (APACHE, "Apache-2.0"),
        (APACHE.partition("APPENDIX")[0], "Apache-2.0"),
        ((ROOT / "LICENSE").read_text(), "Apache-2.0"),
        ("SPDX-License-Identifier: cc-by-nc-sa-4.0\n", "CC-BY-NC-SA-4.0"),
        ("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->", "MIT OR Apache-2.0"),
    ],
)
def test_a_licence_is_known_by_its_words(text: str, expected: str) -> None:
    assert recognized(text).license == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIT License",
        "This data set is under CC-BY-4.0, I think.",
        MIT.replace("without restriction, ", ""),
        MIT.replace("sell", "see"),
        MIT + "\nThe Software may not be used to train models.\n",
        MIT.replace("MIT License", '"Commons Clause" License Condition v1.0 and MIT License'),
        MIT.replace("MIT License", "All files except data/ are under this:"),
        APACHE.replace("non-exclusive", "exclusive", 1),
        APACHE + MIT,
        "words " * 200 + APACHE,
        CC0 + "but not for commerce " * 20,
        "SPDX-License-Identifier: MIT\nSPDX-License-Identifier: Apache-2.0\n",
        "SPDX-License-Identifier: nobody-knows-1.0\n",
    ],
    ids=lambda text: ascii(text[-20:]),
)
def test_a_text_that_is_not_word_for_word_one_licence_is_not_said(text: str) -> None:
    found = recognized(text)
    assert found.license is None
    assert found.note is not None


def test_the_text_of_a_gpl_does_not_say_which_is_meant() -> None:
    text = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n\nCopyright (C) 2007 …"
    found = recognized(text, "COPYING")
    assert found.license is None
    assert found.note == "COPYING does not say whether GPL-3.0-only or GPL-3.0-or-later is meant"


def test_the_licences_of_installed_packages_are_what_their_metadata_say() -> None:
    """Texts that others keep: each that is known is the one that its package declares."""
    known = 0
    for package in metadata.distributions():
        declared = package.metadata.get("License-Expression", "")
        if declared not in ("MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "MPL-2.0"):
            continue
        files = [one for one in package.files or () if one.name in ("LICENSE", "LICENSE.txt")]
        if len(files) == 1 and (place := Path(str(package.locate_file(files[0])))).is_file():
            found = recognized(place.read_text("utf-8", errors="replace")).license
            assert found in (declared, None), place
            known += found is not None
    assert known >= 3
