"""Lines on a grid of sixteenths, a token each: the representations of MusicVAE (Roberts et al., arXiv 1803.05428)."""
