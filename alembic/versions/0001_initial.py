"""Nodes, users, interfaces, peers, what was applied, drift and the audit log.

Written as SQL, since the constraints are the point: bounds are CHECKs that no NULL slips past, and what must
not happen twice is UNIQUE or an exclusion, whatever program writes.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

_SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.execute((_SQL / "0001_up.sql").read_text())


def downgrade() -> None:
    op.execute((_SQL / "0001_down.sql").read_text())
