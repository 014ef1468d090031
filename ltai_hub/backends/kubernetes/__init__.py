"""Workloads as pods, JobSets and Deployments; tenants as namespaces and Kueue queues."""
