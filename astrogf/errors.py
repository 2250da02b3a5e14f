"""What a user can get wrong, as one exception."""


class UserError(Exception):
    """Something the user can put right. Its text is one or two plain sentences: what, where, what to do."""
