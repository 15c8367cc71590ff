-- Refused callers are told apart by the reason, too: those of STOW-RS have no titles, so that a wrong token and none at
-- all, from one address, were one line under the reason of the last.

CREATE TABLE refusals_new (
    calling TEXT NOT NULL,
    called TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    hint TEXT NOT NULL DEFAULT '',
    count INTEGER NOT NULL DEFAULT 1,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    PRIMARY KEY (calling, called, address, reason)
) STRICT;
INSERT INTO refusals_new SELECT * FROM refusals;
DROP TABLE refusals;
ALTER TABLE refusals_new RENAME TO refusals;
