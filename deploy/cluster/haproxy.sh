#!/bin/bash
# HAProxy that nobody but its supervisor stops, by SIGUSR1. Its workers would end at once at a
# SIGTERM that reaches every process of the tree; they leave alone what is ignored when they start.
# At a reload HAProxy runs its own first argument again: this file, or that would be forgotten.
trap '' TERM INT HUP
exec -a "$0" "$HAPROXY_PROGRAM" "$@"
