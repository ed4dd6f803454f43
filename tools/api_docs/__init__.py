"""Makes the API reference and the OpenAPI documents from the contract."""
