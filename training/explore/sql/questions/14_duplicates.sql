-- How many reviews say what another one says? Case, punctuation and blanks do not count. Near-duplicates have another
-- text but the same first ten words. Texts of fewer than five words repeat by chance, so they stand by themselves.
WITH texts AS (
    SELECT
        product_category,
        star_rating,
        trim(regexp_replace(lower(review_body), '[^\p{L}\p{N}]+', ' ')) AS said
    FROM reviews
),
keys AS (
    SELECT
        product_category,
        star_rating,
        said,
        length(said) - length(replace(said, ' ', '')) + 1 AS words,
        nullif(regexp_extract(said, '^([^ ]+ ){9}[^ ]+'), '') AS beginning
    FROM texts
    WHERE said <> ''
),
counted AS (
    SELECT
        product_category,
        words,
        count(*) OVER (PARTITION BY said) AS same_text,
        min(star_rating) OVER (PARTITION BY said) <> max(star_rating) OVER (PARTITION BY said) AS other_stars,
        CASE WHEN beginning IS NULL THEN 0 ELSE count(*) OVER (PARTITION BY beginning) END AS same_beginning
    FROM keys
)
SELECT
    product_category,
    count(*) AS reviews,
    count(*) FILTER (WHERE same_text > 1 AND words < 5) AS same_short_text,
    count(*) FILTER (WHERE same_text > 1 AND words >= 5) AS same_text,
    count(*) FILTER (WHERE same_text > 1 AND words >= 5 AND other_stars) AS same_text_other_stars,
    count(*) FILTER (WHERE same_text = 1 AND same_beginning > 1) AS same_beginning
FROM counted
GROUP BY product_category
ORDER BY product_category
