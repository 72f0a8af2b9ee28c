"""Summary and problems of tables whose clips have several labels."""

from l3clf import ClipTable
from l3clf.datasets.describe_tags import describe_tags, tag_problems

TAGS = [{"dog", "rain"}, {"dog"}, set(), {"rain"}, {"Dog", "classes"}]


def table_of(tags, **columns):
    return ClipTable(
        [f"{k}.wav" for k in range(len(tags))], ["|".join(sorted(each)) or "-" for each in tags], **columns
    )


def test_tags_are_counted_each_on_its_own():
    found = describe_tags(table_of(TAGS), TAGS)
    assert found.classes == {"dog": 2, "rain": 2, "Dog": 1, "classes": 1}
    texts = dict(found.items())
    assert texts["clips"] == "5"
    assert texts["without a tag"] == "1 of the clips"
    assert "largest tag" in texts["imbalance"]
    assert "classes" not in texts


def test_the_order_of_tags_is_not_that_of_a_set():
    found = describe_tags(table_of([["b", "a"], ["b", "a"]]), [["b", "a"], ["b", "a"]])
    assert list(found.classes) == ["a", "b"]
    rare = tag_problems(table_of([["b", "a"], []]), [["b", "a"], []])
    assert any("'a' (1), 'b' (1)" in problem for problem in rare)


def test_problems_are_of_tags_and_of_clips():
    found = tag_problems(table_of(TAGS, folds=[1, 1, 2, 2, 2]), TAGS, fewest=2)
    assert "labels differ only in case or spaces but count as different tags: 'Dog' and 'dog'" in found
    assert any(text.startswith("tags have fewer than 2 clips (2 of 4): ") and "'classes' (1)" in text for text in found)
    assert any(text.startswith("tags are in one fold only") and "'dog'" in text for text in found)
    assert any(text.startswith("sound files are missing (5)") for text in found)
    assert len(found) == 4  # a clip with two tags is not listed twice, and its combination is no rare class
