"""The parts of the backend; a package of its own, so that no name meets another's on the path."""
