"""FastAPI and uvicorn, without batches."""
