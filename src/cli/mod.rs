//! How an operator asks: one file a command group, and the socket client.
