"""What somebody would otherwise write to serve the same model; each in an environment of its own.

These programs know nothing of this repository. They get the file of a model, the file of its
tokenizer, a number of threads and a port.
"""
