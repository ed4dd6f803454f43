"""Triton kernels, and the functions that launch them. Nothing else imports triton.

Tensors are channels-last and contiguous, as their comments say: a shape ends with the channels.
"""
