-- The conversions of one campaign, or of one status, as lists have them: a rare one is found without reading all others.
CREATE INDEX conversions_of_campaign ON conversions (organization_id, campaign_id, create_time DESC, conversion_id DESC)
    WHERE merged_into = '' AND campaign_id <> '';
CREATE INDEX conversions_of_status ON conversions (organization_id, status, create_time DESC, conversion_id DESC)
    WHERE merged_into = '' AND status <> '';
