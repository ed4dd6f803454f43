"""gRPC clients, one module per service; gRPC errors go no further than here."""
