"""Makes what `model_repository/` serves: data, train, export, check, publish."""
