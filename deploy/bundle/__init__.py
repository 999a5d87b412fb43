"""An archive that installs the server where there is no network: `python -m deploy.bundle`."""
