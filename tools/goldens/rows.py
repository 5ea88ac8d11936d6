"""Packed rows: attention masks, positions and targets; and patches.

A row of tokens [T] has samples one after another. segment_ids numbers them, -1 for padding;
image_ids is the number of the image that a token belongs to, -1 for text.
"""

import torch

IGNORE = -100
MODES = ("seed", "document", "document_bidirectional_image")


def cut_patches(pixels, side):
    """[N,C,H,W] -> [N, patches, C*side*side]."""
    patches = pixels.unfold(2, side, side).unfold(3, side, side)  # [N,C,down,across,side,side]
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def visible(segment_ids, image_ids, mode):
    """[B,T,T]: whether a query (second axis) may attend to a key (third). seed: all earlier keys,
    padding too; document: those of its own sample; the third mode adds all of a token's image."""
    length = segment_ids.shape[1]
    allowed = torch.ones(len(segment_ids), length, length, dtype=torch.bool).tril()
    if mode != "seed":
        allowed &= segment_ids[:, None, :] == segment_ids[:, :, None]
    if mode == "document_bidirectional_image":
        allowed |= (image_ids[:, None, :] == image_ids[:, :, None]) & (image_ids[:, :, None] >= 0)
    return allowed


def first_of_sample(segment_ids):
    """[B,T]: whether a token is the first of its sample (or of the padding)."""
    before = torch.cat([torch.full_like(segment_ids[:, :1], -2), segment_ids[:, :-1]], 1)
    return segment_ids != before


def positions(segment_ids, mode):
    """[B,T]: counted from the start of the row, in the document modes from that of the sample; 0 for padding."""
    index = torch.arange(segment_ids.shape[1]).expand_as(segment_ids)
    if mode == "seed":
        return index
    start = (index * first_of_sample(segment_ids)).cummax(1).values
    return (index - start) * (segment_ids >= 0)


def labels(input_ids, segment_ids, image_token, mode):
    """[B,T]: the ids, or -100 for images, padding (by its segment, since the padding's id may be
    that of a text token) and, in the document modes, the first token of a sample."""
    hidden = (input_ids == image_token) | (segment_ids < 0)
    if mode != "seed":
        hidden |= first_of_sample(segment_ids)
    return input_ids.masked_fill(hidden, IGNORE)


def targets(labels):
    """[B,T]: the label of the next token."""
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORE)], 1)


def number_images(input_ids, image_token, tokens):
    """[B,T]: image_ids of images with a number of tokens each, row by row."""
    is_image = input_ids == image_token
    number = (is_image.flatten().cumsum(0).view_as(is_image) - 1) // tokens
    return number.masked_fill(~is_image, -1)
