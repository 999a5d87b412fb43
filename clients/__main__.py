"""Runs the command line."""

from clients.cli import app
from clients.terminal import print_anything

print_anything()
app(prog_name="python -m clients")
