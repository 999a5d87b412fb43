"""What shows on a machine with a GPU, in minutes, whether it serves these models as it should."""
