"""Runs migrations on the connection that ``nexushub.db.upgrade`` hands over; there is no offline mode."""

from sqlmodel import SQLModel

import nexushub.models  # noqa: F401  (fills the metadata)
from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    transaction_per_migration=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
