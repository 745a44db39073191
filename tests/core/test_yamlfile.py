"""YAML within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.core.yamlfile import MAX_BYTES, read_yaml
from fewsam.evaluation.data.tasks import read_tasks, task_root

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(n)}: &{chr(n)} [{','.join([f'*{chr(n - 1)}'] * 9)}]\n" for n in range(98, 107)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "repeats itself by aliases"),
        (BOMB.replace("a:", "labels:", 1), "repeats itself by aliases"),
        ("a: &a [*a]", "nested deeper"),
        ("[" * 200 + "]" * 200, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("labels: 2001-99-99", "not valid YAML"),
        ("seed: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("{[a]: 1}", "not valid YAML"),
        ("a: !!int x", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("#" * MAX_BYTES + "\n", "larger than"),
        ("\x01", "not valid YAML"),
    ],
)
def test_what_is_no_file_of_settings(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "preset.yaml"
    path.write_text(text)
    for read in (lambda p: read_yaml(p, "preset"), load_settings, read_tasks, lambda p: task_root(p, None)):
        with pytest.raises(ConfigError, match=told) as error:
            read(path)
        assert str(path) in str(error.value) and len(str(error.value)) < 1000


def test_aliases_within_bounds_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "preset.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n")
    assert read_yaml(path, "preset") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    path.write_text("")
    assert read_yaml(path, "preset") is None


@pytest.mark.parametrize(
    "values",
    [
        {"labels": 5}, {"labels": [["a"]]}, {"labels": ["a" * 101]}, {"labels": [f"c{n}" for n in range(256)]},
        {"labels": "a\x00b"}, {"window": 5}, {"window": "-inf,inf"}, {"window": [1, 2, 3]}, {"percentiles": "nan,5"},
        {"auto_train": "every:²"}, {"auto_train": "idle:" + "9" * 5000}, {"seed": -1}, {"seed": 2**70},
        {"cache_gb": "inf"}, {"steps": 10**12}, {"batch": 10**9}, {5: 1}, {None: 1}, {"x" * 10**6: 1},
        {"labels": "x" * 10**6},
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused_in_one_short_line(values: dict) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(None, values)
    assert len(str(error.value)) < 1500


def test_a_preset_of_no_possible_name() -> None:
    for name in ("x" * 5000, "\0", "../../etc/passwd", "/dev/zero.yaml"):
        with pytest.raises(ConfigError, match="no preset"):
            load_settings(name)
