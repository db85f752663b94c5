"""The OpenAPI 3.1 document at `/openapi.json`, made of Python values; tests hold it to the real replies."""
