-- What Athena calls otherwise than DuckDB, under Athena's names, so that one question serves both.
CREATE MACRO regexp_like(subject, pattern) AS regexp_matches(subject, pattern);
-- Athena replaces every match, DuckDB the first unless it is told.
CREATE MACRO regexp_replace
    (subject, pattern) AS system.main.regexp_replace(subject, pattern, '', 'g'),
    (subject, pattern, replacement) AS system.main.regexp_replace(subject, pattern, replacement, 'g'),
    (subject, pattern, replacement, options) AS system.main.regexp_replace(subject, pattern, replacement, options);
-- Without a match Athena answers null, DuckDB an empty text.
CREATE MACRO regexp_extract
    (subject, pattern) AS nullif(system.main.regexp_extract(subject, pattern), ''),
    (subject, pattern, part) AS nullif(system.main.regexp_extract(subject, pattern, part), '');
