"""Packed rows: which token sees which, positions, targets; and patches.

A row of tokens [T] holds samples one after another. segment_ids numbers them, -1 for padding;
image_ids numbers the pictures that a token belongs to, -1 for text.
"""

import torch

IGNORE = -100
MODES = ("seed", "document", "document_bidirectional_image")


def cut_patches(pixels, side):
    """[N,C,H,W] -> [N, patches, C*side*side]."""
    patches = pixels.unfold(2, side, side).unfold(3, side, side)  # [N,C,down,across,side,side]
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def visible(segment_ids, image_ids, mode):
    """[B,T,T]: whether a query (second axis) may see a key (third). seed: all that came before,
    padding too; document: of its own sample; the third mode adds the rest of a token's picture."""
    length = segment_ids.shape[1]
    seen = torch.ones(len(segment_ids), length, length, dtype=torch.bool).tril()
    if mode != "seed":
        seen &= segment_ids[:, None, :] == segment_ids[:, :, None]
    if mode == "document_bidirectional_image":
        seen |= (image_ids[:, None, :] == image_ids[:, :, None]) & (image_ids[:, :, None] >= 0)
    return seen


def first_of_sample(segment_ids):
    """[B,T]: whether a token is the first of its sample (or of the padding)."""
    before = torch.cat([torch.full_like(segment_ids[:, :1], -2), segment_ids[:, :-1]], 1)
    return segment_ids != before


def positions(segment_ids, mode):
    """[B,T]: counted from the row's start, or in the document modes from the sample's; 0 at padding."""
    index = torch.arange(segment_ids.shape[1]).expand_as(segment_ids)
    if mode == "seed":
        return index
    start = (index * first_of_sample(segment_ids)).cummax(1).values
    return (index - start) * (segment_ids >= 0)


def labels(input_ids, segment_ids, image_token, mode):
    """[B,T]: the ids themselves; -100 at pictures, at padding (known by its segment, since the
    padding's id may be a word's) and in the document modes at the first token of a sample."""
    hidden = (input_ids == image_token) | (segment_ids < 0)
    if mode != "seed":
        hidden |= first_of_sample(segment_ids)
    return input_ids.masked_fill(hidden, IGNORE)


def targets(labels):
    """[B,T]: what a token is to predict, the label of the next one."""
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORE)], 1)


def number_images(input_ids, image_token, tokens):
    """[B,T]: image_ids of pictures of so many tokens, row by row."""
    picture = input_ids == image_token
    number = (picture.flatten().cumsum(0).view_as(picture) - 1) // tokens
    return number.masked_fill(~picture, -1)
