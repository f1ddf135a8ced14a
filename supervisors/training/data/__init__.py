"""The data of a run: its tokens, its controls, what it leaves to the data; no PyTorch."""
