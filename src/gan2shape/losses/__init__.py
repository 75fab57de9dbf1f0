"""Losses as pure functions: they take tensors, return a scalar and know no network."""

from gan2shape.losses.features import feature_distance as feature_distance
from gan2shape.losses.features import perceptual_distance as perceptual_distance
from gan2shape.losses.photometric import photometric as photometric
from gan2shape.losses.smoothness import smoothness as smoothness
from gan2shape.losses.uncertainty import gaussian_distance as gaussian_distance
from gan2shape.losses.uncertainty import laplace_distance as laplace_distance
