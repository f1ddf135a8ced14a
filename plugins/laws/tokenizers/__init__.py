"""The laws of tokenizers and grammars; `all.py` lists them."""
