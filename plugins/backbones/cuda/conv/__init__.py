"""The causal convolution: its kernels, and how they are launched."""
