"""The selective scan: kernels forward and back, and how they are launched."""
