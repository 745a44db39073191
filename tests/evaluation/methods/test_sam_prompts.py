"""SAM's own prompts: where they are placed, and the path through segment-anything on cached embeddings."""

from functools import partial

import numpy as np
import pytest
import segment_anything
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from fewsam.core.errors import ConfigError
from fewsam.encoders.tinyvit import MOBILE_SAM, TinyViTEncoder
from fewsam.evaluation.cell import run_cell
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.methods.sam_prompts import (
    Prompted,
    by_box,
    by_clicks,
    by_points,
    centre,
    correction,
    inner_points,
)
from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.provenance import weights_note
from fewsam.fewshot.model.store import build_decoder
from fewsam.fewshot.training.plan import decoder_switches, initialise_from_sam
from fewsam.images.frame import make_frame
from helpers import tiny_volume as tiny


def box(top: int, left: int, height: int, width: int, side: int = 24) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


# -- where prompts are


def test_the_centre_lies_deepest_inside():
    assert centre(box(4, 6, 5, 5)) == (6, 8)
    ring = box(2, 2, 15, 15) & ~box(5, 5, 9, 9)
    row, col = centre(ring)
    assert ring[row, col]  # the mean of a ring is not in it
    assert centre(box(7, 3, 1, 1)) == (7, 3)


def test_points_lie_inside_and_apart():
    mask = box(2, 2, 4, 20)
    points = inner_points(mask, 5)
    assert len({point[:2] for point in points}) == 5 and all(mask[row, col] and inside for row, col, inside in points)
    assert max(col for _, col, _ in points) - min(col for _, col, _ in points) >= 10
    assert points[:1] == inner_points(mask, 1)
    assert len(inner_points(box(7, 3, 1, 2), 5)) == 2  # no more than there are pixels


def test_a_correction_goes_to_the_largest_fault():
    truth = box(4, 4, 8, 8)
    assert correction(truth, truth) is None
    row, col, inside = correction(box(4, 4, 8, 3), truth)  # 8 x 5 missed
    assert inside == 1 and truth[row, col] and col >= 7
    row, col, inside = correction(truth | box(14, 14, 9, 9), truth)  # 81 too many
    assert inside == 0 and (row, col) == (18, 18)


# -- the path through segment-anything, with random weights


def small_sam() -> Sam:
    """ViT-B in name, with a small encoder; prompt encoder and decoder of the real size and grid."""
    vit = ImageEncoderViT(
        depth=1, embed_dim=32, img_size=1024, mlp_ratio=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=2, patch_size=16, qkv_bias=True, use_rel_pos=True, global_attn_indexes=[], window_size=8,
        out_chans=256,
    )  # fmt: skip
    prompt = PromptEncoder(
        embed_dim=256, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=16
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
    )
    return Sam(vit, prompt, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


@pytest.fixture
def random_sam(tmp_path, monkeypatch):
    """Settings with a checkpoint of random weights."""
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", small_sam)
    torch.manual_seed(0)
    torch.save(small_sam().state_dict(), tmp_path / "random.pth")
    return tiny.settings(encoder="vit_b", checkpoint=str(tmp_path / "random.pth"), input_size=128)


def test_our_logits_are_those_of_the_predictor_itself(random_sam):
    """The same embedding, point and box through `SamPredictor` as its authors use it."""
    torch.manual_seed(1)
    embedding = torch.randn(256, 64, 64)
    frame = make_frame((1, 24, 24), (1.0, 1.0, 1.0), 128)
    sam = Prompted(random_sam, frame)
    sam.look_at(embedding)
    logits, low = sam.logits([(6, 8, 1)])
    assert logits.shape == (24, 24) and low.shape == (1, 256, 256)
    model = small_sam()
    model.load_state_dict(torch.load(random_sam.checkpoint))
    official = segment_anything.SamPredictor(model.eval())
    official.features, official.is_image_set = embedding[None], True
    official.original_size = official.input_size = (1024, 1024)
    scale = 1024 / 24
    expected = official.predict(np.array([[8.5 * scale, 6.5 * scale]]), np.array([1]), None, None, False, True)
    assert np.allclose(low, expected[2], atol=1e-4)
    assert np.allclose(logits, frame.to_slice(torch.from_numpy(expected[0]))[0].numpy(), atol=1e-4)
    boxed = official.predict(None, None, np.array([6, 4, 11, 9]) * scale, None, False, True)
    assert np.allclose(sam.logits(box=(4, 6, 8, 10))[1], boxed[2], atol=1e-4)  # (row, col) here, (x, y) there
    for ask in (partial(by_points, count=3), partial(by_clicks, count=3), by_box):
        assert ask(sam, box(4, 6, 5, 5)).shape == (24, 24)


def test_a_slice_that_is_no_square_is_placed_by_its_spacing(random_sam):
    sam = Prompted(random_sam, make_frame((1, 20, 40), (1.0, 2.0, 1.0), 128))  # 40 mm x 40 mm
    assert sam.content == (1024, 1024)
    assert sam._place(10, 20).tolist() == [512, 512]
    sam = Prompted(random_sam, make_frame((1, 20, 40), (1.0, 1.0, 1.0), 128))
    assert sam.content == (512, 1024) and sam._place(10, 20).tolist() == [512, 256]
    sam.look_at(torch.randn(256, 64, 64))
    assert sam.logits([(3, 3, 1)])[0].shape == (20, 40)


@pytest.mark.slow
def test_cells_of_prompted_sam_segment_only_where_there_is_something(tmp_path, random_sam):
    volume, masks = tiny.scan(tmp_path)
    task = Task(name="t", images=["x"], labels=["y"], names=dict(enumerate(masks, 1)))
    cases = [Case("scan", volume, masks, "scan")]
    embedder = tiny.embedder(tmp_path, random_sam)
    for method in ("sam-points-1", "sam-clicks-3", "sam-box"):
        cell = run_cell(Cell("t", method, 9, 0), cases, task, random_sam, embedder)
        assert set(cell.iou) <= set(masks) and cell.tested_slices == 3
        empty = [s for s in cell.scores if s.truth_voxels == 0]
        assert all(s.predicted_voxels == 0 for s in empty)


@pytest.mark.slow
def test_mobile_sam_is_prompted_like_sam_and_lends_its_decoder(tmp_path):
    torch.manual_seed(0)
    parts = {key: value for key, value in small_sam().state_dict().items() if not key.startswith("image_encoder.")}
    parts["mask_decoder.output_hypernetworks_mlps.0.layers.2.bias"] += 10  # a mask wherever it is asked for one
    encoder = TinyViTEncoder(MOBILE_SAM).state_dict()
    path = tmp_path / "mobile_sam.pt"
    torch.save(parts | {f"image_encoder.{key}": value for key, value in encoder.items()}, path)
    given = tiny.settings(encoder="mobile_sam", checkpoint=str(path), input_size=128)
    volume, masks = tiny.scan(tmp_path)
    task = Task(name="t", images=["x"], labels=["y"], names=dict(enumerate(masks, 1)))
    embedder = tiny.embedder(tmp_path, given)
    for method in ("sam-points-1", "sam-clicks-3", "sam-box"):
        cell = run_cell(Cell("t", method, 5, 0), [Case("scan", volume, masks, "scan")], task, given, embedder)
        assert set(cell.iou) <= set(masks) and cell.tested_slices == 7
        assert sum(score.predicted_voxels for score in cell.scores) > 0
        assert all(score.predicted_voxels == 0 for score in cell.scores if score.truth_voxels == 0)
    assert "not one of SAM's" in weights_note(given, embedder.info.as_dict())
    decoder = build_decoder(decoder_switches(given, embedder, 64))
    initialise_from_sam(decoder, given)
    theirs = {key.removeprefix("mask_decoder."): value for key, value in parts.items()}
    shared = [key for key in decoder.state_dict() if key.startswith("transformer.")]
    assert shared and all(torch.equal(decoder.state_dict()[key], theirs[key]) for key in shared)


def test_random_weights_are_called_so(tmp_path, random_sam):
    info = tiny.embedder(tmp_path, random_sam).info.as_dict()
    assert weights_note(random_sam, info).startswith("RANDOM WEIGHTS")
    state = torch.load(random_sam.checkpoint)
    state["image_encoder.pos_embed"] += 0.1
    torch.save(state, tmp_path / "own.pth")
    own = random_sam.model_copy(update={"checkpoint": tmp_path / "own.pth"})
    assert "not one of SAM's" in weights_note(own, tiny.embedder(tmp_path / "b", own).info.as_dict())
    plain = tiny.settings()
    assert weights_note(plain, tiny.embedder(tmp_path / "c", plain).info.as_dict()).startswith("UNTRAINED")


def test_without_a_sam_it_is_refused(tmp_path):
    given = tiny.settings()
    volume, masks = tiny.scan(tmp_path)
    task = Task(name="t", images=["x"], labels=["y"], names=dict(enumerate(masks, 1)))
    with pytest.raises(ConfigError, match="encoder to vit_b"):
        run_cell(Cell("t", "sam-box", 2, 0), [Case("scan", volume, masks)], task, given, tiny.embedder(tmp_path, given))
