"""The fused block and the fused step of the Transformer."""
