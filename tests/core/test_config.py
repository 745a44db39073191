"""Settings: earlier names of theirs keep working."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.core.config import load_settings, with_current_names
from fewsam.core.errors import ConfigError


def test_an_earlier_name_works_and_the_new_one_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_settings(None, {"labelled_slices": "complete"}).absent_classes == "complete"
    assert "'labelled_slices' is now called 'absent_classes'" in caplog.text
    preset = tmp_path / "kept.yaml"
    preset.write_text("labelled_slices: partial\nlabels: [liver]\n")
    assert load_settings(preset).absent_classes == "partial"
    # What is given on top counts, under either name.
    assert load_settings(preset, {"absent_classes": "complete"}).absent_classes == "complete"
    preset.write_text("absent_classes: partial\n")
    assert load_settings(preset, {"labelled_slices": "complete"}).absent_classes == "complete"


def test_an_earlier_name_is_checked_as_the_new_one_and_given_once() -> None:
    with pytest.raises(ConfigError, match="absent_classes.*'some'"):
        load_settings(None, {"labelled_slices": "some"})
    with pytest.raises(ConfigError, match="give 'absent_classes' alone"):
        load_settings(None, {"labelled_slices": "complete", "absent_classes": "partial"})


def test_files_that_nobody_edits_are_read_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert with_current_names({"labelled_slices": "partial", "axis": "2"}, warn=False) == {
        "absent_classes": "partial",
        "axis": "2",
    }
    assert not caplog.text
