SELECT
    (SELECT sipHash64(sum(events), sum(clicks), sum(conversions), sum(revenue), sum(cost)) FROM rollup_day
        PREWHERE organization_id = {organization:String} AND dimension = '' AND day >= {first:Date} AND day <= {last:Date}),
    (SELECT sum(sipHash64(intent_id, is_done)) FROM intents
        PREWHERE intent_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        WHERE has(organization_ids, {organization:String})
            AND arrayExists(day -> day >= {first:Date} AND day <= {last:Date}, days)),
    (SELECT count() FROM mapping_activations WHERE organization_id = {organization:String}),
    (SELECT sum(sipHash64(operation_id, revision)) FROM operations
        WHERE organization_id IN ('', {organization:String}))
