"""CSV that comes back from every reader as it was written, whatever the values hold."""

from helpers.csv_readers import by_csv, by_pandas
from hypothesis import example, given, settings
from hypothesis import strategies as st

ODD = "=+-@,;\"'\n\r\t \ufeff\udcff\udc80é雨\x85\u2028\x1b"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(ODD), max_size=9)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=4))
@example(rows=[["a\rb", " a", "a "]])
def test_every_value_comes_back(rows):
    from l3clf.storage.csv_text import csv_line

    if rows[0][0].startswith("\ufeff"):  # at the start of a file it is a byte order mark; our first line is a header
        return
    text = "".join(csv_line(row) for row in rows)
    assert by_csv(text) == rows
    assert by_pandas(text) == rows


@settings(max_examples=100, deadline=None)
@given(value=TEXT)
def test_no_text_begins_as_a_formula_where_that_was_asked_for(value):
    from l3clf.storage.csv_text import csv_line

    ((found, number),) = by_csv(csv_line([value, -1.5], escape_formulas=True))
    assert found in (value, f"'{value}")
    assert not found.startswith(tuple("=+-@\t\r\n"))
    assert number == "-1.5"
