"""The reformulated SAM mask decoder: few-shot tokens as prompts, and every class in one pass over a slice.

What is SAM's (Kirillov et al. 2023): the two-way transformer, the mask token, the random Fourier
``image_pe``, the upscaling and the hypernetwork, with SAM's names and shapes, so that a SAM
checkpoint's weights fit. What is reformulated (Xie et al., WACV 2024, and `README.md`): no IoU head
and no choice of masks by score; the sparse prompts are embeddings of annotated regions; classes
compete in one softmax; the dense prompt is the slice's similarity to the labelled regions; and a
light branch reads the slice itself beside its embedding, because a small organ is a few cells of the
64 x 64 grid (`pixel_features`).

Shapes: N slices, C classes with background as class 0, T tokens a class, D the detail size in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from segment_anything.modeling.transformer import TwoWayTransformer
from torch import Tensor, nn

from fewsam.fewshot.model.pixel_features import EMBED_DIM, ImageFeatures, PixelFeatures, fitted

FEATURES = 32  # channels that a class's hypernetwork weighs, as in SAM
DETAIL = 16  # channels of the detail branch
MAX_CLASSES = 256  # classes a task may have, background included


@dataclass(frozen=True)
class PriorConstants:
    """The training-free prior's share in a decoder's answer, 0 to 1 (chosen in docs/research/decoder.md).

    Attributes:
        least: However many slices show a class.
        few: Added for a class shown on one slice, divided by the number of slices for others.
        few_embedding: The same beside a decoder that reads a pretrained embedding. The prior reads it too, and is as
            good as such a decoder while slices are few.
        most: However few slices show a class.
        least_2d_image: The least for an image of its own, however many slices show a class.
        undertrained: For a decoder that has everything still to learn.
        doubt: Share of the decoder's probability that is spread over all classes. Without it a decoder that is sure and
            wrong would outvote any prior.
    """

    least: float = 0.15
    few: float = 0.3
    few_embedding: float = 1.5
    most: float = 0.6
    least_2d_image: float = 0.35
    undertrained: float = 0.8
    doubt: float = 0.05


PRIOR = PriorConstants()


@dataclass(frozen=True)
class Prompts:
    """What the labelled slices say about N query slices.

    Attributes:
        tokens: (N, C, T, 256) embeddings of annotated regions, background first.
        present: (N, C, T) bool, False where a class has no such token.
        prior: (N, C, 64, 64) training-free class logits (similarity and probe).
        class_ids: (C,) long, the id of each class, which stays its own from training to training: 0 is background.
        num_supports: (N, C) long, on how many labelled slices of the supports the class is drawn; background on all.
    """

    tokens: Tensor
    present: Tensor
    prior: Tensor
    class_ids: Tensor
    num_supports: Tensor


class FewShotMaskDecoder(nn.Module):
    """image_embeddings + prompts (+ the slice itself) -> one logit map a class, all classes at once.

    Example:
        >>> decoder = FewShotMaskDecoder()
        >>> logits = decoder(image_embeddings, prompts, detail)   # (N, C, D, D)

    Args:
        use_tokens: Few-shot tokens in the sparse-prompt slot.
        use_dense: The prior as dense prompt, and its share in the answer.
        use_detail: The branch of per-pixel features.
        use_embedding: That branch reads the embedding beside the image; without it, as in decoders of earlier
            versions and where the encoder has random weights, the image alone.
        stride: Cells of the embedding to one transformer cell and axis: 1 as SAM, more for CPUs.
        mlp_dim: Width inside the transformer's MLPs: 2048 as SAM, less for CPUs.
    """

    def __init__(
        self,
        *,
        use_tokens: bool = True,
        use_dense: bool = True,
        use_detail: bool = True,
        use_embedding: bool = False,
        stride: int = 1,
        mlp_dim: int = 2048,
    ) -> None:
        super().__init__()
        self.use_tokens, self.use_dense, self.use_detail, self.stride = use_tokens, use_dense, use_detail, stride
        self.mask_tokens = nn.Embedding(1, EMBED_DIM)
        self.pe_layer = PositionEmbeddingRandom(EMBED_DIM // 2)
        self.transformer = TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, num_heads=8, mlp_dim=mlp_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(EMBED_DIM, 64, kernel_size=2, stride=2),
            LayerNorm2d(64),
            nn.GELU(),
            nn.ConvTranspose2d(64, FEATURES, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlp = MLP(EMBED_DIM, EMBED_DIM, FEATURES, 3)
        self.token_norm = nn.LayerNorm(EMBED_DIM)
        self.token_proj = nn.Linear(EMBED_DIM, EMBED_DIM)
        self.absent_token = nn.Parameter(torch.zeros(EMBED_DIM, device="cpu"))
        self.dense_proj = nn.Linear(EMBED_DIM, EMBED_DIM)
        self.use_embedding = use_embedding
        self.detail = PixelFeatures(DETAIL) if use_embedding else ImageFeatures(DETAIL)
        # What a task learns of its own classes, beside what their tokens say.
        self.detail_query = nn.Linear(EMBED_DIM, DETAIL)
        self.class_query = nn.Embedding(MAX_CLASSES, DETAIL)
        nn.init.normal_(self.class_query.weight, std=DETAIL**-0.5)
        for last in (self.detail_query, self.output_hypernetworks_mlp.layers[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        image_embeddings: Tensor,
        prompts: Prompts,
        detail: Tensor,
        detail_features: Tensor | None = None,
        *,
        coarse: bool = False,
    ) -> Tensor:
        """Class logits of N slices.

        Args:
            image_embeddings: (N, 256, 64, 64) float, from the frozen encoder.
            prompts: Tokens and prior for the same N slices.
            detail: (N, 1, D, D) float in [-1, 1], the slice itself, D a multiple of 16.
            detail_features: What the method of this name gave for ``detail``; computed here by default. It saves the
                time where several prompts are asked about one slice.
            coarse: See the slices, and answer, at half their size: for the first steps of a training.

        Returns:
            (N, C, D, D) logits, of half that side where ``coarse``; a softmax over C gives probabilities, background
            first.
        """
        size = _side(detail, coarse)
        tokens, class_tokens = self._tokens(prompts)
        hidden, features = self._attend(image_embeddings, prompts.prior.softmax(dim=1), class_tokens, tokens)
        hidden = hidden[:, : class_tokens.shape[1]]
        logits = fitted(_asked(self.output_hypernetworks_mlp(hidden), self.output_upscaling(features)), size)
        if self.use_detail:
            query = self.detail_query(hidden) + self.class_query(prompts.class_ids)
            features = self.detail(detail, image_embeddings, coarse) if detail_features is None else detail_features
            logits = logits + fitted(_asked(query, features), size)
        return logits

    def detail_features(self, detail: Tensor, image_embeddings: Tensor) -> Tensor | None:
        """What the detail branch sees on slices (N, 1, D, D) with their embeddings (N, 256, 64, 64), whatever is asked
        of them: (N, 16, d, d), d its working size.

        None without the branch.
        """
        return self.detail(detail, image_embeddings) if self.use_detail else None

    def detail_alone(
        self, detail: Tensor, image_embeddings: Tensor, class_ids: Tensor, *, coarse: bool = False
    ) -> Tensor:
        """Class logits (N, C, D, D) of the detail branch without any prompt; ``coarse`` as `forward` has it."""
        query = self.class_query(class_ids).expand(len(detail), -1, -1)
        return fitted(_asked(query, self.detail(detail, image_embeddings, coarse)), _side(detail, coarse))

    def answer(
        self,
        image_embeddings: Tensor,
        prompts: Prompts,
        detail: Tensor,
        detail_features: Tensor | None = None,
        *,
        is_2d_image: bool = False,
        undertrained: float = 0.0,
    ) -> Tensor:
        """Class log-probabilities (N, C, D, D), unnormalised: the decoder's, with the prior's share.

        Args:
            image_embeddings, prompts, detail, detail_features: As `forward` has them.
            is_2d_image: Each of the N is an image of its own, no slice of a volume.
            undertrained: How much the decoder has still to learn, 0 to 1 (`ModelCard.undertrained`).
        """
        logits = self(image_embeddings, prompts, detail, detail_features)
        if not self.use_dense:
            return logits.log_softmax(dim=1)
        doubtful = (1 - PRIOR.doubt) * logits.softmax(dim=1) + PRIOR.doubt / logits.shape[1]
        prior = fitted(prompts.prior, detail.shape[-1]).log_softmax(dim=1)
        shares = prior_share(prompts.num_supports, undertrained, is_2d_image, reads_embedding=self.use_embedding)
        share = shares[:, :, None, None]
        return (1 - share) * doubtful.log() + share * prior

    def _tokens(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Sparse prompts (N, C + C*T, 256), mask tokens first as in SAM, and class tokens (N, C, 256)."""
        embedded = self.token_proj(self.token_norm(prompts.tokens))
        embedded = torch.where(prompts.present[..., None], embedded, self.absent_token)
        weight = prompts.present[..., None].to(embedded.dtype)
        class_tokens = (embedded * weight).sum(2) / weight.sum(2).clamp_min(1)
        output_tokens = repeat(self.mask_tokens.weight, "1 d -> n c d", n=len(embedded), c=embedded.shape[1])
        output_tokens = output_tokens + class_tokens
        if not self.use_tokens:
            return output_tokens, class_tokens
        return torch.cat([output_tokens, rearrange(embedded, "n c t d -> n (c t) d")], dim=1), class_tokens

    def _attend(self, src: Tensor, share: Tensor, class_tokens: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Two-way attention: hidden tokens, and the slice's features (N, 256, s, s) at s = 64 / stride."""
        side = src.shape[-1] // self.stride
        src = fitted(src, side)
        if self.use_dense:
            dense = self.dense_proj(class_tokens)
            src = src + torch.einsum("nchw,ncd->ndhw", fitted(share, side), dense)
        image_pe = repeat(self.pe_layer((side, side)), "d h w -> n d h w", n=len(src))
        hidden, keys = self.transformer(src, image_pe, tokens)
        return hidden, rearrange(keys, "n (h w) d -> n d h w", h=side)


def _side(detail: Tensor, coarse: bool) -> int:
    """Side in pixels of the answer on slices (N, 1, D, D)."""
    return int(detail.shape[-1]) // 2 if coarse else int(detail.shape[-1])


def _asked(queries: Tensor, features: Tensor) -> Tensor:
    """(N, C, h, w): how well features (N, F, h, w) fit each of the queries (N, C, F).

    It is asked before the result is resized: the two commute, and classes are fewer than features.
    """
    return torch.einsum("ncd,ndhw->nchw", queries, features)


def prior_share(
    num_supports: Tensor, undertrained: float, is_2d_image: bool = False, *, reads_embedding: bool = False
) -> Tensor:
    """The prior's share in the answer for classes drawn on ``num_supports`` slices.

    0.45, 0.3, 0.25, ... to 0.15, and 0.6, 0.6, 0.6, 0.53, 0.45, ... to 0.15 beside a decoder that reads the embedding.

    A decoder trained on a few slices far apart is surer than it is right between them and in other patients, where a
    logistic regression on the frozen embedding still holds; the more so, the more the embedding knows. On 2D images,
    each of another patient, five labelled ones can lead a decoder astray and leave the prior right: there the share is
    0.35 at least, which costs little where the decoder is right. A decoder of few steps, as a slow machine makes in its
    time, has learnt less than the prior knows, so that the share is larger.

    Args:
        num_supports: On how many slices each class is drawn, of any shape.
        undertrained: How much the decoder has still to learn, 0 to 1.
        is_2d_image: Whether what is answered is an image of its own, no slice of a volume.
        reads_embedding: Whether the decoder's detail branch reads the embedding (`FewShotMaskDecoder`).
    """
    few = PRIOR.few_embedding if reads_embedding else PRIOR.few
    share = (PRIOR.least + few / num_supports.clamp_min(1)).clamp_max(PRIOR.most)
    share = share.clamp_min(PRIOR.least_2d_image) if is_2d_image else share
    return share + undertrained * (PRIOR.undertrained - share)


def load_sam_weights(decoder: FewShotMaskDecoder, state: dict[str, Tensor]) -> list[str]:
    """Copy what fits of a SAM checkpoint's ``mask_decoder.*`` and ``prompt_encoder.*`` into ``decoder``.

    SAM's single-mask output token and its hypernetwork (number 0 of four) are the ones kept.

    Returns:
        The names of the decoder's parameters and buffers that were set.
    """
    renamed = {}
    for name, value in state.items():
        name = name.replace("prompt_encoder.pe_layer.", "pe_layer.").removeprefix("mask_decoder.")
        name = name.replace("output_hypernetworks_mlps.0.", "output_hypernetworks_mlp.")
        renamed[name] = value[:1] if name == "mask_tokens.weight" else value
    own = decoder.state_dict()
    fitting = {name: value.float() for name, value in renamed.items() if name in own and own[name].shape == value.shape}
    decoder.load_state_dict({**own, **fitting})
    return sorted(fitting)
