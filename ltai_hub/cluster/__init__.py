"""What runs in the pods of the chart ``helm/ltai``."""
