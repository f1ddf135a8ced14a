"""The laws of backbones; `all.py` lists them."""
