"""reference/permissions.md from the table every route uses."""

from __future__ import annotations

from generators.markdown import code, table
from ltai_hub.domain.permissions import ACTIONS, Action, Role

HEAD = """# Permissions

What each role may do, in the tenant where the person has it and in everything below that tenant.

- **yes**: to what is theirs and to what belongs to others
- **own**: only to what is theirs
- empty: not at all

Platform administrators (the admin flag of an account) may do everything everywhere. What no role may do is theirs alone.
Who has which role is set with `ltai tenant add-member` ([Members and quotas](../how-to/members-and-quotas.md)).
A refused request is answered with `denied` ([Errors](errors.md)).

"""


def make_page() -> str:
    rows = [[code(name), action.help, *(allowed(action, role) for role in Role)] for name, action in ACTIONS.items()]
    return HEAD + table(["action", "what it is", *(role.value for role in Role)], rows)


def allowed(action: Action, role: Role) -> str:
    if role in action.others:
        return "yes"
    if role not in action.own:
        return ""
    # what can only be done to one's own (start, submit) is no half right
    return "own" if action.others else "yes"
