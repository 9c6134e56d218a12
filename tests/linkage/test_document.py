"""YAML 1.2, nothing guessed: what stays text, what is refused, and on which line."""

from __future__ import annotations

import pytest

from ex_cx.errors import StudyError
from ex_cx.linkage.document import read_document


@pytest.fixture
def written(tmp_path):
    """Writes text as a study file and returns its path."""

    def write(text: str | bytes):
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("007", "007"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("'7'", "7"),
        ("7", 7),
        ("-3", -3),
        ("0", 0),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
    ],
)
def test_only_plain_numbers_and_true_and_false_are_not_text(written, plain, value):
    found = read_document(written(f"value: {plain}\n")).data["value"]
    assert found == value
    assert type(found) is type(value)


def test_keys_stay_text_as_they_are_written(written):
    assert list(read_document(written("007: a\nNO: b\n2017: c\n")).data) == ["007", "NO", "2017"]


def test_lines_are_known_for_keys_and_items(written):
    document = read_document(written("a:\n  b: 1\n  c:\n    - x\n    - y\n"))
    assert document.line(("a", "c", 1)) == 5
    assert document.line(("a", "b", "not in the file")) == 2
    assert document.place(("nowhere",)) == "study.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            "study.yaml, line 3: the key 'a' is already given on line 1. Keep one of the two.",
        ),
        (
            "a: &x [1]\nb: *x\n",
            (
                "study.yaml: the part anchored on line 1 is used again by an alias (*). Study "
                "files "
                "hold no aliases; write the value out."
            ),
        ),
        (
            "a: !!python/object/apply:os.system [echo]\n",
            (
                "study.yaml, line 1: the tag tag:yaml.org,2002:python/object/apply:os.system is "
                "not "
                "allowed. Study files hold text, numbers, true and false, lists and mappings only."
            ),
        ),
        ("? [1, 2]\n: 3\n", "study.yaml, line 1: a key must be plain text."),
        ("- 1\n", "study.yaml must hold `key: value` pairs at its top."),
        ("", "study.yaml is empty. A study file begins with `study: <name>`."),
        (b"a: \xff\n", "study.yaml is not UTF-8 text (byte 3). Save it as UTF-8."),
        ("a: " + "[" * 3000, "study.yaml is nested too deeply to be a study file."),
    ],
)
def test_what_is_refused_names_its_line(written, text, message):
    with pytest.raises(StudyError) as caught:
        read_document(written(text))
    assert str(caught.value) == message


def test_broken_yaml_names_its_line(written):
    with pytest.raises(StudyError, match=r"study\.yaml, line 2, column 2: not valid YAML: "):
        read_document(written("a: [1\nb: 2"))


def test_a_study_file_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(StudyError, match=r"There is no study file .*none\.yaml\. Check the path\."):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="is a folder; name the study file inside it"):
        read_document(tmp_path)


def test_a_number_of_thousands_of_digits_is_a_float(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(f"seed: {'9' * 5000}\nlag: {'9' * 18}\n")
    assert read_document(path).data == {"seed": float("inf"), "lag": int("9" * 18)}
