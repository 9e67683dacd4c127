-- What is stale? The age of each category's reviews, counted back from the newest review of all categories.
WITH aged AS (
    SELECT
        product_category,
        review_date,
        date_diff('day', review_date, max(review_date) OVER ()) / 365.25e0 AS years
    FROM reviews
)
SELECT
    product_category,
    count(*) AS reviews,
    max(review_date) AS newest_review,
    min(years) AS years_behind,
    count(*) FILTER (WHERE years < 1) AS under_1_year,
    count(*) FILTER (WHERE years >= 1 AND years < 5) AS from_1_to_5_years,
    count(*) FILTER (WHERE years >= 5 AND years < 10) AS from_5_to_10_years,
    count(*) FILTER (WHERE years >= 10) AS over_10_years,
    count(*) FILTER (WHERE years IS NULL) AS undated
FROM aged
GROUP BY product_category
ORDER BY years_behind DESC NULLS FIRST, product_category
