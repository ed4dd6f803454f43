"""How a text is read aloud: numbers, dates and abbreviations as words, in each of the model's languages."""
