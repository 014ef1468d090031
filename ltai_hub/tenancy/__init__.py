"""Tenants, members, quotas and admission."""
