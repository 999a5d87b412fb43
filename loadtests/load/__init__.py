"""The load itself: what is sent, when, how, and whether the answers are right."""
