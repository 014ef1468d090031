"""Local accounts: users, their passwords and invite links."""
