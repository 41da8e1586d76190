local file = io.open("data/words.txt")
