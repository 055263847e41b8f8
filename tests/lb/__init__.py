"""The readers of load balancer configs, one module each: what a config says, and what of it cannot be read."""
