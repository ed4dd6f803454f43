"""Holds our LivePortrait against the official code: every network, the maths of keypoints, and whole frames."""
