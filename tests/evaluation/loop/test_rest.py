"""The same loop through the real server."""

import pytest

from fewsam.core.errors import ConfigError
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.loop import rest
from fewsam.evaluation.loop.annotator import Noise, Pace
from fewsam.evaluation.loop.lab import STRATEGIES
from fewsam.evaluation.loop.loop import Curve, run_loop
from fewsam.evaluation.loop.plan import plan
from fewsam.evaluation.loop.rest import RestLab
from helpers import tiny_volume as tiny


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("protocol", ["slices", "patients"])
def test_the_loop_through_the_real_server(tmp_path, task, protocol):
    quick = {"auto_train": "every:2", "input_size": 128, "views": 1, "steps": 4, "train_seconds": 5, "detail_size": 64}
    given = tiny.settings(**quick)
    task = task.model_copy(update={"protocol": protocol})
    planned = plan(load_cases(task, tmp_path), task, 0)
    lab = RestLab(planned, given.model_copy(update={"labels": ()}), tmp_path / "server", 0)
    try:
        curve = run_loop(lab, planned, Curve("t", "informative", 0, 3, "rest"), Noise(), Pace(60, 20))
        with pytest.raises(ConfigError, match="--through direct"):
            lab.improve()
        with pytest.raises(ConfigError, match="no strategy 'random'"):
            lab.next_slice("random")
        process = lab.server.process
    finally:
        lab.close()
    assert process is not None and process.poll() is not None
    assert len(curve.order) == 3 and curve.points[-1].slices == 3
    assert all(z in planned.offered[index] for index, z in curve.order)
    assert 0 < curve.points[-1].iou <= 1 and curve.points[-1].changed > 0


def test_the_strategies_that_are_compared_when_none_is_named():
    from fewsam.cli.simulate import STRATEGIES as unnamed
    from fewsam.cli.simulate import _strategies

    for way, known in (("direct", STRATEGIES), ("rest", rest.STRATEGIES)):
        assert set(unnamed[way].split(",")) <= set(known) and "informative" in unnamed[way]
    assert _strategies("first+unlabelled", "direct") == ["first+unlabelled"]
    with pytest.raises(ConfigError, match="first.unlabelled"):
        _strategies("first+unlabelled", "rest")


def test_through_the_server_needs_a_rule(tmp_path, task):
    planned = plan(load_cases(task, tmp_path), task, 0)
    with pytest.raises(ConfigError, match="every:N"):
        RestLab(planned, tiny.settings(auto_train="off"), tmp_path / "server", 0)
    assert not (tmp_path / "server").exists()
