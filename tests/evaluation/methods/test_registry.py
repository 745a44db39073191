"""Methods by name, and the settings that they change."""

import pytest

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.evaluation.methods.registry import METHODS, find_method, overrides_of, split_methods


def test_the_papers_method_is_ours_without_what_the_paper_lacks():
    changed = overrides_of("paper", {"steps": "7"})
    settings = load_settings(None, changed)
    assert not any((settings.detail, settings.dense_prompt, settings.propagate, settings.atlas, settings.whiten))
    assert settings.prompt_tokens and settings.steps == 7
    assert METHODS["paper"] is METHODS["fewsam"]
    assert "labels" not in changed and "encoder" not in changed  # those are the task's and the run's


def test_switches_come_over_a_preset_and_nnunet_has_none():
    assert overrides_of("paper", {"atlas": "true"})["atlas"] == "true"
    assert overrides_of("fewsam", {"atlas": "false"}) == {"atlas": "false"}
    assert overrides_of("nnunet", {"trainer": "x"}) == {}


def test_names_are_split_outside_of_brackets():
    assert split_methods("unet, fewsam[detail=false,ensemble=1]") == ["unet", "fewsam[detail=false,ensemble=1]"]
    assert find_method("paper[steps=3]")[1:] == ("paper", {"steps": "3"})
    for wrong in ("nothing", "fewsam[steps]", "fewsam[steps=1"):
        with pytest.raises(ConfigError):
            find_method(wrong)
