-- A webhook can be told of what it has not heard of: the changes of an organisation by time.
CREATE INDEX conversion_changes_by_time ON conversion_changes (organization_id, change_time, change_id);
