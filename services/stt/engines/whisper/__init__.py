"""OpenAI's Whisper: speech in 99 languages to text, streamed, on CTranslate2 or PyTorch."""
