"""Per-pixel features: from the image and the embedding, or from the image alone."""

import pytest
import torch
from monai.networks.nets import UNet

from fewsam.fewshot.model.pixel_features import CHANNEL_DROPOUT, ImageFeatures, PixelFeatures, fitted


def inputs(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 1, side, side, generator=generator), torch.randn(2, 256, 64, 64, generator=generator)


@pytest.mark.parametrize("side", [64, 96, 128, 256])
def test_features_have_the_working_size_and_those_of_the_image_alone_its_own(side):
    image, embeddings = inputs(side)
    with torch.no_grad():
        assert PixelFeatures(8)(image, embeddings).shape == (2, 8, 128, 128)
        assert ImageFeatures(8)(image, embeddings).shape == (2, 8, side, side)


def test_both_the_image_and_the_embedding_are_read():
    torch.manual_seed(0)
    network = PixelFeatures(8).eval()
    image, embeddings = inputs(128)
    with torch.no_grad():
        straight = network(image, embeddings)
        assert not torch.allclose(network(image.flip(-1), embeddings), straight, atol=1e-3)
        assert not torch.allclose(network(image, embeddings.flip(-1)), straight, atol=1e-3)


def test_a_change_of_the_embedding_shows_where_it_is():
    """A cell of the 64 x 64 grid is two pixels of a slice of 128: features change there most."""
    torch.manual_seed(0)
    network = PixelFeatures(8).eval()
    image, embeddings = inputs(128)
    changed = embeddings.clone()
    changed[:, :, 10:14, 40:44] += 3
    with torch.no_grad():
        difference = (network(image, changed) - network(image, embeddings)).abs().sum(1)[0]
    row, column = divmod(int(torch.nn.functional.avg_pool2d(difference[None], 9, 1, 4).argmax()), 128)
    assert 12 <= row <= 36 and 72 <= column <= 96


def test_channels_of_the_embedding_are_hidden_in_training_alone():
    torch.manual_seed(0)
    network = PixelFeatures(8)
    image, embeddings = inputs(64)
    with torch.no_grad():
        assert not torch.equal(network.train()(image, embeddings), network(image, embeddings))
        assert torch.equal(network.eval()(image, embeddings), network(image, embeddings))
    assert 0 < CHANNEL_DROPOUT < 1


def test_the_image_alone_has_the_names_of_earlier_checkpoints():
    before = UNet(2, 1, 8, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="INSTANCE")
    now = ImageFeatures(8)
    now.load_state_dict(before.state_dict())
    image, embeddings = inputs(64)
    with torch.no_grad():
        assert torch.equal(now.eval()(image, embeddings), before.eval()(image))


def test_maps_are_enlarged_bilinearly_and_averaged_where_they_shrink():
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert fitted(ramp, 4) is ramp
    assert torch.equal(fitted(ramp, 2)[0, 0, 0], torch.tensor([0.5, 2.5]))
    assert torch.equal(fitted(ramp, 8)[0, 0, 0, 1:3], torch.tensor([0.25, 0.75]))
