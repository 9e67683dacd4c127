-- Which words pull the rating of a category up or down? Log-odds ratio with an informative Dirichlet prior (Monroe,
-- Colaresi and Quinn 2008, "Fightin' Words", equations 16, 22 and 23) of reviews of 4 and 5 stars against 1 and 2.
-- A word counts once a review. The prior is the word's share of all categories, worth 500 words. A word must stand
-- in ten reviews of the category; z beyond 1.96 is more than chance.
WITH texts AS (
    SELECT
        product_category,
        star_rating >= 4 AS positive,
        array_distinct(regexp_extract_all(lower(review_body), '[a-z][a-z''’]{1,18}[a-z]')) AS words
    FROM reviews
    WHERE star_rating <> 3
),
words AS (
    SELECT product_category, positive, word, count(*) AS reviews
    FROM texts CROSS JOIN UNNEST(words) AS found (word)
    GROUP BY product_category, positive, word
),
prior AS (
    SELECT word, 500e0 * sum(reviews) / sum(sum(reviews)) OVER () AS a
    FROM words
    GROUP BY word
),
totals AS (
    SELECT
        product_category,
        1e0 * sum(reviews) FILTER (WHERE positive) AS n_up,
        1e0 * sum(reviews) FILTER (WHERE NOT positive) AS n_down
    FROM words
    GROUP BY product_category
),
counts AS (
    SELECT
        product_category,
        word,
        coalesce(sum(reviews) FILTER (WHERE positive), 0) AS up,
        coalesce(sum(reviews) FILTER (WHERE NOT positive), 0) AS down
    FROM words
    GROUP BY product_category, word
    HAVING sum(reviews) >= 10
),
odds AS (
    SELECT
        product_category,
        word,
        CAST(up + down AS bigint) AS reviews,
        (ln((up + a) / (n_up + 500e0 - up - a)) - ln((down + a) / (n_down + 500e0 - down - a)))
            / sqrt(1e0 / (up + a) + 1e0 / (down + a)) AS z
    FROM counts
    JOIN prior USING (word)
    JOIN totals USING (product_category)
    WHERE n_up > 0 AND n_down > 0
),
ranked AS (
    SELECT
        product_category,
        word,
        reviews,
        z,
        row_number() OVER (PARTITION BY product_category, z > 0 ORDER BY abs(z) DESC, word) AS place
    FROM odds
    WHERE abs(z) > 1.96e0
)
SELECT product_category, word, reviews, z, place
FROM ranked
WHERE place <= 6
ORDER BY product_category, z DESC
