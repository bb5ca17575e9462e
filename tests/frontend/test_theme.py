"""Colours, simulated as in Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""

from itertools import combinations

import numpy as np
import pytest

from frontend.theme import ENGINE_COLOURS, SOURCE_COLOURS

COLOURS = ENGINE_COLOURS | SOURCE_COLOURS
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
PAPER = ("#ffffff", "#1e293b")  # behind panes, in light and dark
MIN_DISTANCE = 15  # CIE76; 2.3 is just noticeable side by side
MIN_CONTRAST = 3  # WCAG 2.2, 1.4.11

in_light_and_dark = pytest.mark.parametrize("dark", [0, 1])


def linear(colour):
    srgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    share = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
@in_light_and_dark
def test_colours_can_be_told_apart_with_each_kind_of_colour_blindness(vision, dark):
    seen = {name: lab(VISIONS[vision] @ linear(pair[dark])) for name, pair in COLOURS.items()}
    distances = {(one, other): np.linalg.norm(seen[one] - seen[other]) for one, other in combinations(seen, 2)}
    assert {pair: distance for pair, distance in distances.items() if distance < MIN_DISTANCE} == {}


@in_light_and_dark
def test_every_colour_stands_out_from_the_page(dark):
    paper = XYZ[1] @ linear(PAPER[dark])
    luminances = {name: XYZ[1] @ linear(pair[dark]) for name, pair in COLOURS.items()}
    contrasts = {name: (max(each, paper) + 0.05) / (min(each, paper) + 0.05) for name, each in luminances.items()}
    assert {name: contrast for name, contrast in contrasts.items() if contrast < MIN_CONTRAST} == {}
