"""Scores of reconstructions against the truth."""

from gan2shape.evaluate.metrics import erode as erode
from gan2shape.evaluate.metrics import mad as mad
from gan2shape.evaluate.metrics import scored_mask as scored_mask
from gan2shape.evaluate.metrics import side as side
