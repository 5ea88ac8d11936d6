"""Images as Pillow and torchvision preprocess them: RGB, shorter side resized to S, centre crop S x S."""

import shutil

import numpy as np
from PIL import Image

from files import read_json, write_json


def sizes(image, side):
    """torchvision's Resize and CenterCrop: the size after resizing, and the crop's corner. It
    rounds halves to the even number, as round() does."""
    short = min(image.size)
    resized = [int(side * length / short) for length in image.size]
    return resized, [int(round((length - side) / 2)) for length in resized]


def prepare(image, side):
    resized, (left, top) = sizes(image, side)
    image = image.convert("RGB").resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + side, top + side))
    return Image.fromarray(np.asarray(image))  # without the file's metadata on transparency


def over_white(image):
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)


def high_bytes(image):
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def make(out, source):
    """The images and sizes are those of the set."""
    source, out = source / "images", out / "images"
    index = read_json(source / "index.json")
    (out / "input").mkdir(parents=True, exist_ok=True)
    (out / "expected").mkdir(exist_ok=True)
    for entry in index["images"]:
        shutil.copyfile(source / entry["file"], out / entry["file"])
        image = Image.open(out / entry["file"])
        entry |= {"format": image.format, "mode": image.mode, "width": image.width, "height": image.height, "exact": image.format == "PNG"}
        for case in entry["expected"]:
            side = case["size"]
            case["resized"], case["crop_left_top"] = sizes(image, side)
            forms = {"file": image}
            if "white" in case:
                forms["white"] = over_white(image)
            if "high_byte" in case:
                forms["high_byte"] = high_bytes(image)
            for form, variant in forms.items():
                prepare(variant, side).save(out / case[form], optimize=True)
    write_json(out / "index.json", index)
