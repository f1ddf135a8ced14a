"""The laws of backbones; `judging.py` lists and judges them."""
