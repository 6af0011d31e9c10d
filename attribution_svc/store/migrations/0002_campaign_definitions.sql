-- What a campaign does with its traffic, as attribution_svc/campaigns/definition.py writes it. A campaign of the time before has a
-- destination, a parameter policy and a fallback: its definition is made of these. The old columns stay, filled, for a
-- release that still reads them.
ALTER TABLE campaigns ADD COLUMN definition jsonb;
ALTER TABLE campaign_versions ADD COLUMN definition jsonb;
ALTER TABLE campaigns DROP CONSTRAINT campaigns_parameter_policy_check;

CREATE FUNCTION definition_of(destination_url text, parameter_policy text, fallback_url text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object(
        'action', jsonb_build_object(
            'destinations', jsonb_build_array(
                jsonb_build_object('destination_id', 'd1', 'url', destination_url, 'weight', 100)),
            'redirect_type', '302',
            'parameter_policy', parameter_policy,
            'parameter_names', jsonb_build_array(),
            'tags', jsonb_build_array()),
        'rules', jsonb_build_array(),
        'paused_fallback', CASE WHEN fallback_url = '' THEN NULL
            ELSE jsonb_build_object('url', fallback_url, 'campaign_id', '') END,
        'expired_fallback', NULL,
        'over_cap_fallback', NULL,
        'schedule', NULL,
        'caps', jsonb_build_array(),
        'priority', 0)
$$;

UPDATE campaigns SET definition = definition_of(destination_url, parameter_policy, fallback_url);
ALTER TABLE campaigns ALTER COLUMN definition SET NOT NULL;
