"""Training of generators and baselines; the reconstruction neither needs nor knows it."""
