"""What counts as the continuation of what we have, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import AtdError
from atd.validators import Version
from atd_daemon.store.replies import StartAnewError, start_of

DATE = "Tue, 10 Jun 2025 12:00:00 GMT"
EARLIER = "Tue, 10 Jun 2025 11:00:00 GMT"
JUST_NOW = "Tue, 10 Jun 2025 11:59:30 GMT"


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, None),
        ({"etag": '"a"', "last-modified": EARLIER, "date": DATE}, '"a"'),
        ({"etag": 'W/"a"', "last-modified": EARLIER, "date": DATE}, None),
        ({"last-modified": EARLIER, "date": DATE}, EARLIER),
        ({"last-modified": JUST_NOW, "date": DATE}, None),
        ({"last-modified": EARLIER}, None),
        ({"last-modified": "yesterday", "date": DATE}, None),
        ({"last-modified": EARLIER, "date": "now"}, None),
        ({"etag": ""}, None),
        ({"etag": '"' + "x" * 600 + '"'}, None),
        ({"etag": '"a\r\nX-Evil: 1"'}, None),
        ({}, None),
    ],
)
def test_only_a_strong_validator_is_a_condition(headers, condition):
    assert Version.of(headers).condition == condition


def test_versions_contradict_each_other_only_where_both_speak():
    one, two = Version('"1"', DATE), Version('"2"', DATE)
    assert one.contradicts(two)
    assert one.contradicts(Version('"1"', EARLIER))
    assert not one.contradicts(one)
    assert not one.contradicts(Version())
    assert not Version().contradicts(two)


numbers = st.integers(min_value=-5, max_value=60)


@given(
    first=numbers,
    last=numbers,
    total=st.one_of(numbers, st.just("*")),
    offset=st.integers(1, 49),
    length=st.one_of(st.none(), numbers),
    status=st.sampled_from([200, 206, 416, 404, 500, 301, 100]),
)
def test_nothing_but_the_asked_for_rest_or_the_whole_is_taken(
    first, last, total, offset, length, status
):
    size = 50
    headers = {"content-range": f"bytes {first}-{last}/{total}"}
    if length is not None:
        headers["content-length"] = str(length)
    try:
        start = start_of(status, headers, offset=offset, size=size, version=Version())
    except (AtdError, StartAnewError):
        return
    if start == 0:
        assert status == 200
        assert length is None or length < 0 or length == size
    else:
        assert status == 206
        assert first == start == offset <= last < size
        assert total in ("*", size)


@given(status=st.integers(100, 599), text=st.text(max_size=40))
def test_whatever_a_server_says_is_an_answer_or_an_error(status, text):
    headers = {"content-range": text, "content-length": text, "etag": text, "date": text}
    Version.of({**headers, "last-modified": text})
    for offset in (0, 7):
        try:
            start_of(status, headers, offset=offset, size=50, version=Version())
        except (AtdError, StartAnewError):
            continue
