-- The last word of every journal about what it holds, so that each replica and a restarted one can tell.
CREATE TABLE IF NOT EXISTS journals ${on_cluster}
(
    journal_id       String,
    sender           String,
    settled_sequence UInt64,
    pending          Map(String, UInt64),
    report_time      DateTime64(3, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree(report_time)
ORDER BY journal_id;
-- Written to find out whether the store takes rows again.
CREATE TABLE IF NOT EXISTS probes ${on_cluster}
(
    replica    String,
    probe_time DateTime64(3, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree(probe_time)
ORDER BY replica;
