"""The probe: its fit against scikit-learn and autograd, and the cells that it learns from."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from fewsam.fewshot.model import probe
from fewsam.fewshot.model.probe import probe_features
from fewsam.fewshot.model.prompts import SupportBank
from helpers.labelled_views import view


def test_probe_is_the_logistic_regression_it_says(monkeypatch):
    """Against scikit-learn, on the same rows and weights."""
    monkeypatch.setattr(probe, "PROBE", replace(probe.PROBE, rounds=400))
    bank = SupportBank([view(0, signal=0.15)])
    rows, answers, weights = bank._standard(bank._rows[0]), bank._shares[0], bank._weights[0]
    used = answers[:, :2]  # class 2 is nowhere
    weights = (weights / weights.sum()).numpy()
    expected = LogisticRegression(C=1 / probe.PROBE.ridge, max_iter=2000, tol=1e-8)
    expected.fit(rows.numpy(), used.argmax(1).numpy(), sample_weight=weights)
    query = view(7, signal=0.15)
    place = torch.tensor([0.5])
    found = bank.probe(query.embedding[None], place, torch.tensor([0]))[0, :2].softmax(0)[1].flatten().numpy()
    wanted = expected.predict_proba(bank._standard(probe_features(query.embedding[None], place)).numpy())[:, 1]
    assert np.abs(found - wanted).max() < 0.04  # ours counts a third class, and the constant in the penalty


def test_the_probe_of_soft_answers_is_where_the_loss_is_flat(monkeypatch):
    """Cells that two classes share, and a class that was not looked for: the gradient of autograd is nought there."""
    monkeypatch.setattr(probe, "PROBE", replace(probe.PROBE, rounds=400))
    shared, partly = view(0, signal=0.2), view(1, signal=0.2)
    shared.mask[1:, :, 30:34] = 0.5
    shared.mask[0] = 1 - shared.mask[1:].sum(0)
    partly.annotated_classes[2] = False
    bank = SupportBank([shared, partly])
    rows = bank._standard(torch.cat(bank._rows))
    answers, weights = torch.cat(bank._shares), torch.cat(bank._weights)
    assert ((answers > 0.2) & (answers < 0.8)).any() and len(weights.unique()) > 2

    def steepest(coefficients: torch.Tensor) -> float:
        coefficients = coefficients.clone().requires_grad_()
        scores = (rows @ coefficients[:-1] + coefficients[-1]).log_softmax(1)
        misfit = -(weights[:, None] * answers * scores).sum() / weights.sum()
        (misfit + probe.PROBE.ridge * coefficients.square().sum()).backward()
        assert coefficients.grad is not None
        return coefficients.grad.abs().max().item()

    found = bank.fit(torch.tensor([0, 1])).probe
    assert steepest(found) < 1e-3 * steepest(torch.zeros_like(found))


def test_sharpened_cells_are_nearer_to_one_class_and_classes_keep_their_area():
    mask = torch.zeros(3, 100)
    mask[1, :40], mask[1, 40:50] = 1, torch.linspace(0.9, 0.1, 10)
    mask[2, 70], mask[2, 71] = 0.2, 0.3  # smaller than a cell
    mask[0] = 1 - mask[1:].sum(0)
    found = probe.sharpened(mask)
    assert torch.allclose(found.sum(0), torch.ones(100)) and torch.allclose(found.sum(1), mask.sum(1), atol=0.01)
    assert found[1, 41] > 0.95 and found[1, 48] < 0.05
    assert found[2].argmax() == 71 and found[2, 71] > mask[2, 71]
    assert torch.equal(found[:, :40], mask[:, :40])  # where there is one class there is nothing to sharpen
