"""Models: LightFM, popularity, ALS, content, feature mapping, fold-in, and how they combine."""
