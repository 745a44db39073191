"""The reformulated mask decoder: shapes, start from the prior, class order, SAM's weights."""

from dataclasses import replace

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from fewsam.fewshot.model.decoder import PRIOR, FewShotMaskDecoder, Prompts, load_sam_weights, prior_share
from fewsam.fewshot.model.pixel_features import fitted


def prompts(n: int = 2, classes: int = 3, tokens: int = 4) -> Prompts:
    generator = torch.Generator().manual_seed(1)
    return Prompts(
        torch.randn(n, classes, tokens, 256, generator=generator),
        torch.ones(n, classes, tokens, dtype=torch.bool),
        torch.randn(n, classes, 64, 64, generator=generator),
        torch.arange(classes),
        torch.tensor([3, *range(1, classes)]).expand(n, -1),
    )


def inputs(n: int = 2, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 256, 64, 64, generator=generator), torch.randn(n, 1, size, size, generator=generator)


def trained(**switches: bool | int) -> FewShotMaskDecoder:
    """A decoder whose zero-initialised parts are moved off zero, as training would."""
    torch.manual_seed(0)
    decoder = FewShotMaskDecoder(stride=4, **switches)  # type: ignore[arg-type]
    torch.nn.init.normal_(decoder.output_hypernetworks_mlp.layers[-1].weight, std=0.1)
    torch.nn.init.normal_(decoder.class_query.weight, std=0.1)
    return decoder.eval()


def test_the_prior_has_its_share_in_the_answer():
    decoder, given = trained(), prompts()  # background on 3 slices, class 1 on one, class 2 on two
    image_embeddings, detail = inputs(size=64)
    with torch.no_grad():
        alone = decoder(image_embeddings, given, detail).softmax(1)
        answers = {flat: decoder.answer(image_embeddings, given, detail, is_2d_image=flat) for flat in (False, True)}
        half = decoder.answer(image_embeddings, given, detail, undertrained=0.5)
    prior, doubtful = given.prior.log_softmax(1), ((1 - PRIOR.doubt) * alone + PRIOR.doubt / 3).log()
    for flat, shares in ((False, (0.25, 0.45, 0.3)), (True, (0.35, 0.45, 0.35))):
        for number, share in enumerate(shares):
            expected = (1 - share) * doubtful[:, number] + share * prior[:, number]
            assert torch.allclose(answers[flat][:, number], expected, atol=1e-4)
    share = (0.45 + 0.8) / 2
    assert torch.allclose(half[:, 1], (1 - share) * doubtful[:, 1] + share * prior[:, 1], atol=1e-4)


def test_the_priors_share_falls_with_the_slices_that_show_a_class():
    shares = prior_share(torch.tensor([0, 1, 2, 3, 6, 60]), 0.0)
    assert shares.tolist() == pytest.approx([0.45, 0.45, 0.3, 0.25, 0.2, 0.155])
    pictures = prior_share(torch.tensor([1, 2, 60]), 0.0, is_2d_image=True)
    assert pictures.tolist() == pytest.approx([0.45, 0.35, 0.35])
    pretrained = prior_share(torch.tensor([1, 3, 4, 5, 10, 60]), 0.0, reads_embedding=True)
    assert pretrained.tolist() == pytest.approx([0.6, 0.6, 0.525, 0.45, 0.3, 0.175])


def test_the_prior_has_most_of_the_say_beside_an_undertrained_decoder():
    assert prior_share(torch.tensor([1, 3]), 1.0).tolist() == pytest.approx([0.8, 0.8])
    assert prior_share(torch.tensor([1, 60]), 0.5, is_2d_image=True).tolist() == pytest.approx([0.625, 0.575])


@pytest.mark.parametrize("size", [96, 192])
def test_asking_before_resizing_is_asking_resized_features(size):
    decoder, ids = trained(use_embedding=True), torch.arange(3)
    image_embeddings, detail = inputs(size=size)
    with torch.no_grad():
        features = fitted(decoder.detail(detail, image_embeddings), size)
        asked = torch.einsum("cd,ndhw->nchw", decoder.class_query(ids), features)
        assert torch.allclose(decoder.detail_alone(detail, image_embeddings, ids), asked, atol=1e-4)


@pytest.mark.parametrize("use_embedding", [False, True])
def test_what_the_detail_branch_saw_is_used_for_further_prompts(use_embedding):
    decoder, given = trained(use_embedding=use_embedding), prompts()
    image_embeddings, detail = inputs()
    with torch.no_grad():
        seen = decoder.detail_features(detail, image_embeddings)
        again = decoder.answer(image_embeddings, given, detail, seen)
        assert torch.equal(again, decoder.answer(image_embeddings, given, detail))
        assert not torch.allclose(again, decoder.answer(image_embeddings, given, detail, 2 * seen), atol=1e-2)
    assert trained(use_detail=False).detail_features(detail, image_embeddings) is None


@pytest.mark.parametrize("use_embedding", [False, True])
def test_the_detail_branch_alone_is_its_part_of_the_whole(use_embedding):
    decoder, given = trained(use_embedding=use_embedding), prompts()
    torch.nn.init.zeros_(decoder.output_hypernetworks_mlp.layers[-1].weight)
    image_embeddings, detail = inputs()
    with torch.no_grad():
        whole = decoder(image_embeddings, given, detail)
        part = decoder.detail_alone(detail, image_embeddings, given.class_ids)
    assert part.abs().max() > 0.1
    assert torch.allclose(whole, part, atol=1e-4)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(
    "switches", [{}, *({name: False} for name in ("use_tokens", "use_dense", "use_detail")), {"use_embedding": True}]
)
def test_every_switch_gives_one_map_a_class(size, switches):
    image_embeddings, detail = inputs(size=size)
    with torch.no_grad():
        logits = trained(**switches)(image_embeddings, prompts(), detail)
    assert logits.shape == (2, 3, size, size)
    assert torch.isfinite(logits).all()


def test_permuting_the_classes_permutes_the_maps():
    decoder, given = trained(), prompts()
    order = torch.tensor([0, 2, 1])
    swapped = Prompts(
        given.tokens[:, order], given.present[:, order], given.prior[:, order], order, given.num_supports[:, order]
    )
    image_embeddings, detail = inputs()
    with torch.no_grad():
        straight = decoder(image_embeddings, given, detail)
        crossed = decoder(image_embeddings, swapped, detail)
    assert torch.allclose(straight[:, order], crossed, atol=1e-3)


def test_a_slice_does_not_depend_on_its_batch():
    decoder, given = trained(), prompts()
    image_embeddings, detail = inputs()
    one = Prompts(given.tokens[:1], given.present[:1], given.prior[:1], given.class_ids, given.num_supports[:1])
    with torch.no_grad():
        together = decoder(image_embeddings, given, detail)
        alone = decoder(image_embeddings[:1], one, detail[:1])
    assert torch.allclose(together[:1], alone, atol=1e-3)


def test_a_token_marked_absent_has_no_say():
    decoder, given = trained(), prompts()
    present = given.present.clone()
    present[:, 1, 2:] = False
    changed = given.tokens.clone()
    changed[:, 1, 2:] = 100.0
    image_embeddings, detail = inputs()
    with torch.no_grad():
        a = decoder(image_embeddings, replace(given, present=present), detail)
        b = decoder(image_embeddings, replace(given, tokens=changed, present=present), detail)
    assert torch.allclose(a, b, atol=1e-4)


def test_sams_decoder_weights_fit():
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    sam = MaskDecoder(transformer_dim=256, transformer=transformer)
    encoder = PromptEncoder(
        embed_dim=256, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=16
    )
    state = {f"mask_decoder.{name}": value for name, value in sam.state_dict().items()}
    state |= {f"prompt_encoder.{name}": value for name, value in encoder.state_dict().items()}
    decoder = FewShotMaskDecoder()
    loaded = load_sam_weights(decoder, state)
    own = decoder.state_dict()
    assert all(torch.equal(own[f"transformer.{name}"], value) for name, value in transformer.state_dict().items())
    assert torch.equal(own["mask_tokens.weight"], sam.mask_tokens.weight[:1])
    assert torch.equal(
        own["output_hypernetworks_mlp.layers.2.weight"], sam.output_hypernetworks_mlps[0].layers[2].weight
    )
    assert {"pe_layer.positional_encoding_gaussian_matrix", "output_upscaling.0.weight"} <= set(loaded)
