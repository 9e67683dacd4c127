CREATE TABLE jobs (
    id VARCHAR(32) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    config TEXT NOT NULL,
    idempotency_key VARCHAR(200) NOT NULL,
    state VARCHAR(16) NOT NULL,
    stage VARCHAR(64),
    progress DOUBLE PRECISION NOT NULL,
    facts TEXT NOT NULL,
    release VARCHAR(64),
    error TEXT,
    attempts INTEGER NOT NULL,
    log_tail TEXT NOT NULL,
    worker VARCHAR(128),
    cancel_requested BOOLEAN NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    heartbeat_at DOUBLE PRECISION,
    lease_until DOUBLE PRECISION,
    PRIMARY KEY (id),
    UNIQUE (idempotency_key)
);
CREATE INDEX jobs_by_state ON jobs (state, created_at);
INSERT INTO jobs (id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, log_tail, worker, cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until)
VALUES ('aec637bc87bd4f4ea29ed82b5d4268b1', 'retrain', '{"data": ["/data/reviews.tsv"], "overrides": {"train": {"epochs": 1.0}}, "preset": "tiny"}', 'done', 'succeeded', 'export', 1.0, '{"accuracy": 0.61}', '20261123-050139-bd44562b', NULL, 1, '["stage prepare", "stage train", "epoch 1: loss 1.2, it''s \"fine\" \u00e9", "stage export"]', 'host-1-aa', FALSE, 1800000001.0, 1800000002.0, 1800000012.0, 1800000007.0, NULL);
INSERT INTO jobs (id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, log_tail, worker, cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until)
VALUES ('62e96c4b2c684e17b8519c0a87e0507d', 'retrain', '{"data": ["/data/reviews.tsv"], "overrides": {"train": {"epochs": 1.0}}, "preset": "tiny"}', 'failed', 'failed', 'prepare', 0.0, '{}', NULL, 'the disk is full: free some space', 1, '["stage prepare"]', 'host-1-aa', FALSE, 1800000013.0, 1800000013.0, 1800000017.0, 1800000016.0, NULL);
INSERT INTO jobs (id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, log_tail, worker, cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until)
VALUES ('d1448b06e9b3439588c1e210f2b67605', 'retrain', '{"data": ["/data/reviews.tsv"], "overrides": {"train": {"epochs": 1.0}}, "preset": "tiny"}', 'cancelled', 'cancelled', NULL, 0.0, '{}', NULL, NULL, 0, '[]', NULL, TRUE, 1800000018.0, NULL, 1800000019.0, NULL, NULL);
INSERT INTO jobs (id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, log_tail, worker, cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until)
VALUES ('0880e82915894eb39f25f916ae77e0ce', 'retrain', '{"data": ["/data/reviews.tsv"], "overrides": {"train": {"epochs": 1.0}}, "preset": "tiny"}', 'running', 'running', 'train', 0.25, '{}', NULL, NULL, 1, '["stage prepare", "stage train"]', 'host-2-bb', FALSE, 1800000020.0, 1800000020.0, NULL, 1800000024.0, 1800000114.0);
INSERT INTO jobs (id, kind, config, idempotency_key, state, stage, progress, facts, release, error, attempts, log_tail, worker, cancel_requested, created_at, started_at, finished_at, heartbeat_at, lease_until)
VALUES ('b453ad09ba7d44b39087cd401f2bf8d5', 'retrain', '{"data": ["/data/reviews.tsv"], "overrides": {"train": {"epochs": 1.0}}, "preset": "standard"}', 'queued', 'queued', NULL, 0.0, '{}', NULL, NULL, 0, '[]', NULL, FALSE, 1800000025.0, NULL, NULL, NULL, NULL);
CREATE TABLE workers (
    id VARCHAR(128) NOT NULL,
    kinds TEXT NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id)
);
INSERT INTO workers (id, kinds, seen_at)
VALUES ('host-2-bb', '["retrain"]', 1800000024.0);
