"""Keeps gRPC's own log off standard error, unless GRPC_VERBOSITY asks for it.

What fails is raised, and one line says so. Imported before gRPC is, which reads the variable then.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
