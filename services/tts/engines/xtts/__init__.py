"""XTTS v2: a voice that is cloned from seconds of speech, in 17 languages, for many listeners on one GPU.

The library coqui-tts reads the published files, writes texts as tokens and listens to recordings. What runs for every
token and every sample is ours: its modules take the same weights by the same names, and keep a static cache, so that a
step for all listeners can be captured as one CUDA graph; the library's own loop grows its cache and waits for the
device with every token.
"""
