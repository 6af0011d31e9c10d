"""The rule language: conditions on an event, evaluated live by a closure and over history by ClickHouse, alike.

`predicate` is the tree, `field` what can be asked for, `parse` reads and checks both written forms, `evaluate` compiles
to a Python closure over `Facts`, `sql` to a ClickHouse expression. What a rule means is written here, once; both
evaluators are held to it by one property test (`docs/rules.md` is the same for users).

**Three values.** A condition is true, false or unknown (None, NULL). `all_of` is false when a child is false, else
unknown when one is unknown; `any_of` is true when a child is true, else unknown when one is unknown; `not` keeps
unknown. A rule matches on true only.

**A fact** is known text (may be empty), missing (known not to be there: a parameter, a header, a value) or unknown (the
country where there is no GeoIP file). Of an unknown fact every condition is unknown, `exists` too. Of a missing fact
every condition is false, but the negative ones (`not_equals`, `not_in`, `not_contains`, `not_exists`) are true: they
are the negations of the positive ones, for every fact. `exists` is true of a fact that is there and not empty. Only a
parameter, a header and `value` can be missing: any other text that is not there is empty text. `asn` 0 is missing.

**Several values** mean any of them: `contains` a or b, `not_contains` neither a nor b. A comparison has one, `between`
two, both included; `exists` none.

**Text** is bytes; UTF-8 is not assumed. Case counts, but for the ASCII letters of `source`, `medium`, `country`,
`region`, `city`, `device_type`, `os`, `browser`, `language` and `event_type`: people and networks write these in any
case and mean the same. Names of headers have no case, names of parameters have.

**matches** is RE2 over UTF-8: anywhere in the text, `.` matches a line feed too, `^` and `$` are the ends of the text
unless it says `(?m)`, a byte that is not UTF-8 is matched by `\\C` only. Case counts as for the field.

**A number** in a text is an optional sign, 1 to 38 digits and perhaps a point with 1 to 18 more, with blanks around it;
anything else (`1e3`, `.5`, `1,000`, `NaN`) is no number, and a comparison with it is false. Numbers are compared as
decimals, exactly.

**An address** is IPv4, or IPv6 without a zone; IPv4 is compared as the IPv6 address that maps it (::ffff:0:0/96), so
`192.0.2.1` and `::ffff:192.0.2.1` are the same and `::/0` holds every address. A text that is no address is in no
network and equals none.

**hour** (0 to 23), **weekday** (monday to sunday) and **date** (YYYY-MM-DD) are those of the event's time in one IANA
time zone, daylight saving included, which whoever compiles the predicate names.

**param.<name>** is the first value of that name in the query, decoded once, `+` as a space. **header.<name>** is the
first value of that name.
"""
