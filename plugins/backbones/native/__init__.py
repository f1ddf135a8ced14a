"""Fused operators of a Mamba block for CPUs, in C++ that is compiled at first use."""
