"""The report: one HTML page that opens from disk, and the same table for the terminal, as CSV and as JSON.

Rule: data is escaped where it becomes HTML, in `markup.tag` and nowhere else, so that no label or file name can be
missed. The page contains everything it shows, runs no script and makes no network request. A clip or picture that
cannot be read is replaced by a sentence; the page is written all the same.
"""

from l3clf.report.contents import COLUMNS
from l3clf.report.page import Page, write_html
from l3clf.report.players import Mistake
from l3clf.report.terminal import table_text
from l3clf.report.unlearned import unlearned_text
from l3clf.report.writers import write_csv, write_json

__all__ = ["COLUMNS", "Mistake", "Page", "table_text", "unlearned_text", "write_csv", "write_html", "write_json"]
