"""LivePortrait in PyTorch: the published networks, written from the paper and held against the official code.

Source: Guo et al., "LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control", 2024,
https://arxiv.org/abs/2407.03168.
"""
