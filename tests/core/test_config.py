"""Settings: values that do not fit are refused by name, and earlier names keep working."""

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


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("percentiles", "1,100.5", "0 <= low < high <= 100"),
        ("percentiles", "-1,99", "0 <= low < high <= 100"),
        ("percentiles", "99,1", "low must be below high"),
        ("labels", "liver,Liver", "differ in more than case"),
        ("labels", ",".join(f"c{n}" for n in range(256)), "256 labels are too many"),
        ("window", "brain,soft", "one of soft_tissue"),
        ("auto_train", "every:0", "off, every:N or idle:SECONDS"),
        ("sequences", "_t1", "two or three different names"),
        ("step", "3", "did you mean 'steps'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(key: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError, match=key) as refused:
        load_settings(None, {key: value})
    assert told in str(refused.value)


def test_values_at_their_bounds_are_taken() -> None:
    taken = load_settings(None, {"percentiles": "0,100", "labels": " liver , spleen,", "auto_train": "every:1"})
    assert taken.percentiles == (0, 100) and taken.labels == ("liver", "spleen") and taken.auto_train == "every:1"


@pytest.mark.parametrize("body", ["lables: [liver]\n", "steps: many\n"])
def test_what_a_file_has_wrong_is_told_with_the_file(tmp_path: Path, body: str) -> None:
    preset = tmp_path / "kept.yaml"
    preset.write_text(body)
    with pytest.raises(ConfigError) as told:
        load_settings(preset)
    assert str(preset) in str(told.value) and body.split(":")[0] in str(told.value)
    with pytest.raises(ConfigError) as told:
        load_settings(preset, {"steps": "few", "lables": "liver"})
    assert str(preset) not in str(told.value)  # what is given on top is not the file's
