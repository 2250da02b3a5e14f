"""The one error: a code and a sentence, and still a ValueError."""

import pytest

from astrogf.base.errors import AstrogfError
from astrogf.emulator.decks import DeckError
from astrogf.surveys.spectrum import REASONS, SurveyError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no such file", "No such file."),
        ("Give a list.", "Give a list."),
        ("  what is it? ", "What is it?"),
        ("", "."),
        ("my.vald is empty", "my.vald is empty."),
        ("survey.kind: expected a word", "survey.kind: expected a word."),
    ],
)
def test_a_sentence_begins_with_a_capital_and_ends(text, sentence):
    assert AstrogfError(text).sentence == sentence


def test_a_folder_that_a_sentence_begins_with_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert AstrogfError("lamost holds no file").sentence == "Lamost holds no file."
    (tmp_path / "lamost").mkdir()
    assert AstrogfError("lamost holds no file").sentence == "lamost holds no file."


def test_reasons_are_those_of_the_class_unless_given():
    assert AstrogfError("x").reason == "input"
    assert SurveyError("x").reason in REASONS
    assert SurveyError("x", "gap").reason == "gap"
    assert AstrogfError("x", set_aside=[1]).set_aside == [1]


@pytest.mark.parametrize("error", [AstrogfError, SurveyError, DeckError])
def test_whoever_catches_value_errors_catches_these(error):
    with pytest.raises(ValueError, match="not right"):
        raise error("not right")
