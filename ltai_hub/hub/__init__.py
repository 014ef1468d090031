"""What runs inside JupyterHub: authenticator, spawner, configuration."""
