"""What every REST service needs: callers, permissions, problems, paging."""
