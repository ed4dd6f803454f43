"""Text to speech: text in pieces in, audio and the timing that a face needs out."""
