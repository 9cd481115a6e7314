"""One question per file: table, sentence, figure; and the pages that carry them."""
