"""What a BERT checkpoint has to be, so that what is served answers as it does."""
