"""The card of a data set out of the files that people write anyway, and as a file to edit.

Belongs here: pure functions from the bytes of README.md, CITATION.cff and LICENSE to what they say
about a data set, each word with the file that said it; checking SPDX expressions; and the card as a
small document for an editor. Only `atd.cards.files` looks at the disk.

Rules. All of it is hostile: bounded before it is parsed, text and never a type or a tag, without
control characters, within the limits of the lexicon. What is not certain is not said, but noted.
"""
