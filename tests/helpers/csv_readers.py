"""What readers of CSV make of a text: the standard library and pandas."""

import csv
import io

import pandas


def by_csv(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def by_pandas(text):
    file = io.BytesIO(text.encode("utf-8", "surrogateescape"))
    options = {
        "dtype": object,  # with pyarrow installed, texts of pandas cannot hold bytes that are not UTF-8
        "keep_default_na": False,
        "encoding_errors": "surrogateescape",
        "skip_blank_lines": False,
    }
    return pandas.read_csv(file, header=None, **options).to_numpy().tolist()
