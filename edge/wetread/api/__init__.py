"""The HTTP interface, version 1 (packaging/docs/API.md): FastAPI lives here; what it answers with, service hands in."""
