"""The page of a report: what is given is shown as text, several drawings share no id, drawings stay what they were."""

import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.page import Page, csv_text, html_text, write_page
from COFTrainingLib.evaluation.report.section import Figure, Section, Table, safe_name

NASTY = """<script>alert("x")</script> 'A' & "B" """


def a_page(name=NASTY):
    """Return a page whose every word is ``name``."""
    rows = [(name, 0.25, None), ("other", float("nan"), name)]
    drawn = figures.forest([(name, 1.0, 0.5, 1.5), ("other", 2.0, 1.0, 3.0)], name, name)
    one = Section(
        "one", name, [name], [Table("measured", name, (name, "b", "c"), rows, name)],
        [Figure(f"a {name}", name, drawn, note=name), Figure("b", name, drawn), Figure(name, name, b"PNG", "png")],
    )  # fmt: skip
    other = Section("other", name, not_run=name, tables=[Table("paper", name, (name,), [(name,)], published=True)])
    return Page(name, name, name, [one, other], name)


class Elements(HTMLParser):
    """Every element of a page, with its attributes, and all words between them."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_what_users_give_is_text_everywhere():
    nasty, harmless = Elements(html_text(a_page())), Elements(html_text(a_page("harmless" * 6)))
    assert [tag for tag, _ in nasty.found] == [tag for tag, _ in harmless.found]
    assert [given.keys() for _, given in nasty.found] == [given.keys() for _, given in harmless.found]
    assert sum(NASTY.strip() in words for words in nasty.words) > 15
    assert NASTY in [attributes["alt"] for tag, attributes in nasty.found if tag == "img"]


def test_ids_are_of_one_figure_each_and_what_they_point_to_is_there():
    text = html_text(a_page())
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', text)) <= set(ids)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in ids)


def test_the_main_method_and_long_words_are_marked_and_gaps_are_dashes():
    text = html_text(a_page("main method"))
    assert text.count('<tr class="main"><td>main method</td><td>0.25</td><td>–</td>') == 1
    assert "<td>other</td><td>–</td>" in text
    assert text.count("published, not measured here") == 1
    assert 'class="words"' in html_text(a_page("a name of more than thirty-four letters"))


def test_tables_lie_beside_the_page_under_safe_names(tmp_path):
    table = Table("../up & away", "t", ("a\nb", "c"), [(1.5, None)])
    path = write_page(tmp_path / "out", Page("t", "n", "l", [Section("s", "S", tables=[table])]))
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in (tmp_path / "out" / "tables").iterdir()] == [f"{safe_name(table.name)}.csv"]
    assert list(csv.reader(io.StringIO(csv_text(table)))) == [["a b", "c"], ["1.5", ""]]


def test_a_drawing_keeps_its_words_and_half_of_its_size():
    figure, axes = figures.new_figure()
    axes[0, 0].plot(np.linspace(0, 1, 300), np.sin(np.linspace(0, 9, 300)))
    axes[0, 0].set_title('r = 0.123456 d="7.98765" <&>')
    plain, small = io.BytesIO(), figures.svg(figure)
    figure.savefig(plain, format="svg")
    assert len(small) < 0.6 * len(plain.getvalue())
    words = "".join(ElementTree.fromstring(small).itertext())
    assert "r = 0.123456" in words
    assert "<&>" in words
