"""The laws of tokenizers and grammars; `judging.py` lists and judges them."""
