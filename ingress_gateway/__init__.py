"""The gateway: turns HTTP into durable events and gRPC calls, and redirects people in milliseconds."""
