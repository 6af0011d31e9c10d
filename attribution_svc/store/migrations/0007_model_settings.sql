-- Which model and which look-back hold where a question names none, as attribution_svc/crediting/settings.py writes it: every
-- version that there ever was. The highest holds.
CREATE TABLE model_settings (
    organization_id text COLLATE "C" NOT NULL,
    version         integer          NOT NULL CHECK (version >= 1),
    types           jsonb            NOT NULL,
    actor           text             NOT NULL,
    create_time     timestamptz      NOT NULL,
    PRIMARY KEY (organization_id, version)
);

CREATE FUNCTION refuse_to_change_model_settings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'model_settings is append-only';
END
$$;

CREATE TRIGGER model_settings_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON model_settings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_model_settings();
