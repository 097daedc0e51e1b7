//! How the daemon runs: signals, systemd, logging, start and stop.
