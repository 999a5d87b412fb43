"""Images with the server, and all of it by compose."""
