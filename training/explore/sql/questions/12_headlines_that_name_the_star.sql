-- How many headlines only name the star ("Five Stars", "4/5"), and is it the star that was given?
-- Such a headline gives the answer away: training blanks it (contracts/review.py, names_the_star).
WITH headlines AS (
    SELECT
        star_rating,
        review_headline,
        regexp_like(
            lower(review_headline),
            '^[^a-z0-9]*((a|an|solid)[^a-z0-9]+)?(one|two|three|four|five|[1-5]([.][05])?)[^a-z0-9]*((out[^a-z0-9]+of|of|/)[^a-z0-9]*(five|5)[^a-z0-9]*)?stars?[^a-z0-9]*(ratings?|reviews?)?[^a-z0-9]*$|^[^a-z0-9]*(one|two|three|four|five|[1-5]([.][05])?)[^a-z0-9]*(/|out[^a-z0-9]+of)[^a-z0-9]*(five|5)[^a-z0-9]*$|^[★☆⭐*][★☆⭐* .!]*$'
        ) AS names_the_star,
        regexp_extract(lower(review_headline), 'one|two|three|four|five|[1-5]') AS named
    FROM reviews
)
SELECT
    star_rating,
    count(*) AS reviews,
    count(review_headline) AS headlines,
    count(*) FILTER (WHERE names_the_star) AS naming,
    count(*) FILTER (
        WHERE names_the_star AND CAST(star_rating AS varchar) = CASE named
            WHEN 'one' THEN '1' WHEN 'two' THEN '2' WHEN 'three' THEN '3' WHEN 'four' THEN '4' WHEN 'five' THEN '5'
            ELSE named END
    ) AS naming_the_given,
    1e0 * count(*) FILTER (WHERE names_the_star) / count(*) AS share
FROM headlines
GROUP BY star_rating
ORDER BY star_rating DESC
