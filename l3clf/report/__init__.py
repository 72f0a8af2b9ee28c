"""The report: one HTML page that opens from disk, and the same table for a terminal and for machines.

Rule: whatever comes from data is escaped where it becomes HTML, in `markup.tag` and nowhere else, so that no
label or file name can be forgotten. The page holds everything it shows, runs no script and asks no
network for anything; a clip or picture that cannot be read costs its place in the page, never the page.
"""

from l3clf.report.contents import COLUMNS
from l3clf.report.page import Page, write_html
from l3clf.report.players import Mistake
from l3clf.report.terminal import table_text
from l3clf.report.writers import write_csv, write_json

__all__ = ["COLUMNS", "Mistake", "Page", "table_text", "write_csv", "write_html", "write_json"]
